import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { buildBase, outcomeOf, startBuild, uploadContext } from './hostile-build.ts';
import { download, readEvents } from './log-readers.ts';

const run = promisify(execFile);

/**
 * No secret in a log, an answer, a list of processes, an image. Everything a build with secrets leaves or shows is
 * gathered and searched: for what is known (the build's secrets, the user's token) and for whatever looks like a token
 * of ours. What the tests look through is also proved to be what they think it is.
 */
const secret = 'correct-horse-battery-staple-4711';
const key =
  '-----BEGIN PRIVATE THING-----\nc2VjcmV0IGxpbmUgbnVtYmVyIG9uZQ\nc2VjcmV0IGxpbmUgbnVtYmVyIHR3bw\n-----END PRIVATE THING-----\n';
/** Any JWT, as registration, job, pull, push and registry tokens are. */
const jwt = /eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}/;

let server: SlipwayServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-secrets-'));
  server = await SlipwayServer.start(['--workers', '1', '--retry-delay', '0']);
  await server.becomeUser('keeper');
});

afterAll(async () => {
  await server?.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** Everything that is known to be secret; the personal token too. */
function needles(): string[] {
  const parts = key.split('\n').filter((line) => line.length > 12 && !line.startsWith('---'));
  return [secret, Buffer.from(secret).toString('base64').slice(0, 40), ...parts, server.token];
}

function expectClean(where: string, bytes: Buffer | string): void {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1');
  for (const needle of needles())
    if (text.includes(needle))
      throw new Error(`${where} shows a secret:\n${around(text, text.indexOf(needle))}`);
  const token = jwt.exec(text);
  if (token !== null) throw new Error(`${where} shows a token:\n${around(text, token.index)}`);
}

const around = (text: string, at: number) => text.slice(Math.max(0, at - 200), at + 60);

interface Sample {
  readonly commands: Map<string, string>;
  readonly environments: Map<string, string>;
}

/** Looks at every process that belongs to this server, as often as it can, until it is told to stop. */
async function watchProcesses(signal: AbortSignal): Promise<Sample> {
  const commands = new Map<string, string>();
  const environments = new Map<string, string>();
  while (!signal.aborted) {
    for (const pid of await readdir('/proc')) {
      if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
      const [command = '', environment = '', cwd = ''] = await Promise.all([
        readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''),
        readFile(`/proc/${pid}/environ`, 'latin1').catch(() => ''),
        readlink(`/proc/${pid}/cwd`).catch(() => ''),
      ]);
      // What the tests themselves run is not the server's.
      if (!`${command}${environment}${cwd}`.includes(server.data)) continue;
      commands.set(command, pid);
      environments.set(environment, command);
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  return { commands, environments };
}

test('a build with secrets shows them, and the tokens of its worker, nowhere', async () => {
  const base = await buildBase(server, 'keeper/base');
  const file_id = await uploadContext(server, {
    Dockerfile: `FROM ${base}
COPY script /script
RUN --mount=type=secret,id=password --mount=type=secret,id=key sh /script
RUN echo after > /after
`,
    // What a careless step does with its secrets, and what a curious one looks for.
    script: `cat /run/secrets/password; cat /run/secrets/key
base64 < /run/secrets/password
cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'
env; cat /proc/self/mountinfo; ls -la /run/secrets /proc/1/root 2>&1
sleep 2
echo the step is over
`,
  });
  const repository = 'keeper/secrets';
  const stop = new AbortController();
  const watching = watchProcesses(stop.signal);
  const answers: string[] = [];
  const view = await startBuild(server, repository, {
    file_id,
    no_cache: true,
    secrets: {
      password: Buffer.from(secret).toString('base64'),
      key: Buffer.from(key).toString('base64'),
    },
  });
  answers.push(JSON.stringify(view));
  const events = await readEvents(server, repository, view.id);
  answers.push(JSON.stringify(events.entries));
  const { view: end, text } = await outcomeOf(server, repository, view.id);
  stop.abort();
  const { commands, environments } = await watching;
  expect(end.phase, text).toBe('complete');
  expect(text).toMatch(/^the step is over$/m);
  expect(text).toContain('***');

  // Processes.
  const engines = [...commands.keys()].filter((command) => /buildah/.test(command));
  const workers = [...commands.keys()].filter((command) => /src\/bin\/worker\.ts/.test(command));
  expect(
    [engines.length, workers.length].every((count) => count > 0),
    [...commands.keys()].join('\n'),
  ).toBe(true);
  for (const command of commands.keys()) expectClean('a command line', command.replaceAll('\0', ' '));
  for (const [environment, command] of environments)
    expectClean(`the environment of ${command.replaceAll('\0', ' ').slice(0, 80)}`, environment);

  // Answers.
  const paths = [
    `/api/v1/repository/${repository}/build/${view.id}`,
    `/api/v1/repository/${repository}/build/${view.id}/status`,
    `/api/v1/repository/${repository}/build/`,
    `/api/v1/repository/${repository}/build/${view.id}/logs`,
    `/api/v1/repository/${repository}`,
    '/api/v1/user/',
    '/api/v1/user/tokens',
    '/api/v1/openapi.json',
    '/health/instance',
    '/metrics',
  ];
  for (const path of paths) {
    const response = await server.fetch(path);
    expect(response.status, path).toBe(200);
    expectClean(path, await response.text());
  }
  for (const answer of answers) expectClean('an answer', answer);
  expectClean('the download', await download(server, repository, view.id));

  // Files: logs of the server, of the registry, of workers. The data folder's keys and database are for secrets.
  expectClean('the output of the server', (await server.output()).replace(/password .*/, ''));
  let searched = 0;
  // The worker takes its leave and its folder goes; what is removed while we look is no finding.
  await until('the end of the worker', async () =>
    (await readdir(join(server.data, 'workers'))).every((name) => !/^[0-9a-f-]{36}$/.test(name)),
  );
  for (const entry of await readdir(server.data, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.log(\.\d+)?$|\.json$|\.ya?ml$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    if (path.includes('/keys/')) continue;
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (bytes === undefined) continue;
    expectClean(path, bytes);
    searched += 1;
  }
  expect(searched).toBeGreaterThan(0);
  const serverLog = await readFile(join(server.data, 'server.log'), 'utf8');
  expect(serverLog).toContain(view.id);

  // The image: its config with the history, and every layer.
  const image = join(folder, 'image');
  await run('skopeo', [
    'copy',
    '--src-tls-verify=false',
    '--src-creds',
    `$oauthtoken:${server.token}`,
    `docker://${server.host}/${repository}:latest`,
    `dir:${image}`,
  ]);
  let layers = 0;
  for (const name of await readdir(image)) {
    const bytes = await readFile(join(image, name));
    const packed = bytes.readUInt16BE(0) === 0x1f8b;
    if (packed) layers += 1;
    expectClean(`${name} of the image`, packed ? gunzipSync(bytes) : bytes);
  }
  expect(layers).toBeGreaterThanOrEqual(3);
});

test('a search that finds nothing would find something', () => {
  expect(() => expectClean('x', `a ${secret} b`)).toThrow(/shows a secret/);
  expect(() =>
    expectClean('x', `eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.${'a'.repeat(43)}`),
  ).toThrow(/shows a token/);
});
