import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogEntry } from '../../src/log/log-store.ts';
import {
  type BuildView,
  createRepository,
  imageConfig,
  imageDigest,
  packFolder,
  readLog,
  uploadFile,
  waitForEnd,
} from '../harness/build-client.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { generators } from './generators.ts';
import { readScenario, type Scenario } from './scenario.ts';

/**
 * Every folder here is a scenario: a context, a request, and what must come of it. They run against a real server, the
 * real engine and a real registry, and need no internet: all images are made from a static busybox.
 */
const here = import.meta.dirname;
const names = (await readdir(here, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map((entry) => entry.name);

let server: SlipwayServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-scenarios-'));
  server = await SlipwayServer.start(['--workers', '2', '--retry-delay', '0', '--allow-private', '127.0.0.1']);
  // The private image belongs to the administrator; all else is asked for by an ordinary user.
  const secret = { ...baseScenario, describe: 'an image of somebody else', repository: 'private' };
  expect((await runOnce('private', secret, baseContext, 'admin')).view.phase).toBe('complete');
  await server.becomeUser('tests');
  const base = await runOnce('base', baseScenario, baseContext);
  expect(base.view.phase, base.view.error ?? '').toBe('complete');
});

afterAll(async () => {
  await server?.dispose();
  await rm(folder, { recursive: true, force: true });
});

const baseScenario: Scenario = {
  describe: 'the base image of the others, from nothing but busybox',
  busybox: true,
  repository: 'base',
  expect: { phase: 'complete' },
};

async function baseContext(context: string): Promise<void> {
  await writeFile(
    join(context, 'Dockerfile'),
    `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "mkdir -p /etc /tmp && /bin/busybox --install -s /bin && echo made by the base build > /etc/origin"]
ENV PATH=/bin
CMD ["sh"]
`,
  );
}

interface Run {
  readonly view: BuildView;
  readonly log: readonly LogEntry[];
  readonly repository: string;
}

/** Prepares the context, hands it over, and waits for the end. A refused request is the phase `refused`. */
async function runOnce(
  name: string,
  scenario: Scenario,
  prepare: (context: string) => Promise<void>,
  namespace = 'tests',
): Promise<Run> {
  const work = await mkdtemp(join(folder, `${name}-`));
  const context = join(work, 'context');
  await mkdir(context);
  if (names.includes(name)) await cp(join(here, name, 'context'), context, { recursive: true, verbatimSymlinks: true });
  await prepare(context);
  if (scenario.busybox) await copyFile('/bin/busybox', join(context, 'busybox'));
  await substitute(context);
  const repository = `${namespace}/${scenario.repository ?? name}`;
  await createRepository(server, namespace, scenario.repository ?? name);
  const archive = join(work, 'package');
  const kind = scenario.source ?? 'tar.gz';
  const fileId =
    kind === 'dockerfile'
      ? await uploadFile(server, join(context, 'Dockerfile'), 'text/plain')
      : await uploadFile(server, archive, await packFolder(context, kind, archive));
  const response = await server.fetch(`/api/v1/repository/${repository}/build/`, {
    method: 'POST',
    body: JSON.stringify({ file_id: fileId, ...scenario.request }),
    headers: { 'content-type': 'application/json' },
  });
  if (scenario.expect.refused !== undefined) {
    const refusal = (await response.json()) as { error_message: string };
    const view = { id: '', phase: 'refused', error: refusal.error_message, error_code: null, digest: null, tags: [], status: response.status };
    return { view, log: [], repository };
  }
  if (!response.ok) throw new Error(`POST build: ${response.status} ${await response.text()}`);
  const { id } = (await response.json()) as BuildView;
  const view = await waitForEnd(server, repository, id);
  return { view, log: await readLog(server, repository, id), repository };
}

/** `{{registry}}` in Dockerfiles becomes the host:port of the server under test. */
async function substitute(context: string): Promise<void> {
  for (const entry of await readdir(context, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/^(Dockerfile|Containerfile)$/.test(entry.name)) continue;
    const file = join(entry.parentPath, entry.name);
    const bytes = await readFile(file);
    if (bytes.includes('{{registry}}')) await writeFile(file, bytes.toString('utf8').replaceAll('{{registry}}', server.host));
  }
}

function expectInOrder(log: readonly LogEntry[], patterns: readonly string[]): void {
  let from = 0;
  for (const pattern of patterns) {
    const at = log.findIndex((entry, index) => index >= from && new RegExp(pattern).test(entry.message));
    expect(at, `no entry after ${from} matches ${pattern} in:\n${log.map((entry) => entry.message).join('\n')}`).toBeGreaterThanOrEqual(0);
    from = at;
  }
}

async function check({ view, log, repository }: Run, expected: Scenario['expect']): Promise<void> {
  const whole = log.map((entry) => entry.message).join('\n');
  expect(view.phase, `${view.error_code} ${view.error}\n${whole}`).toBe(expected.phase);
  if (expected.refused !== undefined) expect(view['status']).toBe(expected.refused);
  if (expected.error_code !== undefined) expect(view.error_code).toMatch(new RegExp(`^(${expected.error_code})$`));
  if (expected.error !== undefined) expect(view.error).toMatch(new RegExp(expected.error));
  expectInOrder(log, expected.log ?? []);
  for (const pattern of expected.not_log ?? []) {
    // The step's own command line is echoed; what must not appear is its output.
    const outputs = log.filter((entry) => entry.type !== 'command').map((entry) => entry.message);
    expect(outputs.filter((message) => new RegExp(pattern).test(message))).toEqual([]);
  }
  if (view.phase === 'complete' && expected.tags?.length !== 0) {
    expect(view.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    for (const tag of expected.tags ?? ['latest']) expect(await imageDigest(server, `${repository}:${tag}`)).toBe(view.digest);
  }
  if (expected.tags?.length === 0)
    await expect(imageDigest(server, `${repository}:latest`)).rejects.toThrow(/manifest unknown|name unknown|repository name not known/i);
  if (expected.config !== undefined) {
    const { config } = (await imageConfig(server, `${repository}:latest`)) as { config: Record<string, unknown> };
    for (const [key, value] of Object.entries(expected.config)) {
      if (Array.isArray(value) && key === 'Env') expect(config[key]).toEqual(expect.arrayContaining(value));
      else if (typeof value === 'object' && value !== null && !Array.isArray(value)) expect(config[key]).toMatchObject(value);
      else expect(config[key]).toEqual(value);
    }
  }
}

describe('scenarios', () => {
  test('there are at least thirty', () => {
    expect(names.length).toBeGreaterThanOrEqual(30);
  });

  for (const name of names) {
    test(name, async () => {
      const scenario = await readScenario(join(here, name));
      if (scenario.after !== undefined)
        await check(await runOnce(scenario.after, await readScenario(join(here, scenario.after)), async () => {}), { phase: 'complete' });
      const generate = scenario.generate === undefined ? async () => {} : generators[scenario.generate];
      if (generate === undefined) throw new Error(`there is no generator ${scenario.generate}`);
      const first = await runOnce(name, scenario, generate);
      await check(first, scenario.expect);
      if (scenario.again !== undefined) expectInOrder((await runOnce(name, scenario, generate)).log, scenario.again);
    });
  }
});
