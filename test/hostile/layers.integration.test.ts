import { copyFile, cp, mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { packContext } from '../../src/context/pack.ts';
import { packFolder, uploadFile } from '../harness/build-client.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { build, buildBase, type Outcome, upload } from './hostile-build.ts';

/** The second build of the same context takes every layer from the first, however the context was handed over. */
let server: SlipwayServer;
let folder: string;
let context: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-layers-'));
  context = join(folder, 'context');
  server = await SlipwayServer.start(['--workers', '2', '--retry-delay', '0']);
  await server.becomeUser('layers');
  const base = await buildBase(server, 'layers/base');
  await mkdir(join(context, 'src'), { recursive: true });
  await copyFile('/bin/busybox', join(context, 'tool'));
  await writeFile(join(context, 'first'), 'one\n');
  await writeFile(join(context, 'src/a'), 'a\n');
  await writeFile(join(context, 'src/b'), 'b\n');
  await writeFile(
    join(context, 'Dockerfile'),
    `FROM ${base}
WORKDIR /work
COPY first tool ./
RUN head -c 3000000 /dev/urandom > noise
COPY src ./src
RUN cat src/a src/b > both
CMD ["cat", "/work/both"]
`,
  );
});

afterAll(async () => {
  await server?.dispose();
  await rm(folder, { recursive: true, force: true });
});

type Kind = 'tar.gz' | 'zip' | 'client';

async function buildFolder(from: string, kind: Kind, repository: string): Promise<Outcome> {
  if (kind === 'client') {
    const { stream } = await packContext({ folder: from });
    return await build(server, repository, {
      file_id: await upload(server, await buffer(stream), 'application/gzip'),
    });
  }
  const archive = join(folder, 'package');
  const type = await packFolder(from, kind, archive);
  return await build(server, repository, { file_id: await uploadFile(server, archive, type) });
}

/** The registry's blobs, each with when it was written. */
async function storedBlobs(): Promise<Record<string, number>> {
  const entries = await readdir(join(server.data, 'registry'), { recursive: true, withFileTypes: true });
  const files = entries
    .filter(({ name }) => name === 'data')
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(await Promise.all(files.map(async (file) => [file, (await stat(file)).mtimeMs])));
}

/** A copy whose every file and folder has another time. */
async function laterCopy(name: string): Promise<string> {
  const copy = join(folder, name);
  await cp(context, copy, { recursive: true });
  const time = new Date('2001-02-03T04:05:06Z');
  for (const entry of await readdir(copy, { recursive: true })) await utimes(join(copy, entry), time, time);
  await utimes(copy, time, time);
  return copy;
}

/** The steps of a log, each with whether it came from the cache. */
function stepsOf({ text }: Outcome): { readonly step: string; readonly cached: boolean }[] {
  const lines = text.split('\n');
  return lines.flatMap((line, index) => {
    const step = /^STEP \d+\/\d+: (.*)/.exec(line)?.[1];
    if (step === undefined || step.startsWith('FROM')) return [];
    const rest = lines.slice(index + 1);
    const next = rest.findIndex((each) => each.startsWith('STEP '));
    const own = next < 0 ? rest : rest.slice(0, next);
    return [{ step, cached: own.some((each) => each.includes('Using cache')) }];
  });
}

test.each<Kind>(['tar.gz', 'zip', 'client'])(
  'by %s: again, and again from a copy with other times, every layer is used once more',
  async (kind) => {
    const repository = `layers/${kind.replace('.', '-')}`;
    const first = await buildFolder(context, kind, repository);
    expect(first.view.phase, first.text).toBe('complete');
    const stored = await storedBlobs();
    const began = performance.now();
    const again = await buildFolder(context, kind, repository);
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    expect(again.view.phase, again.text).toBe('complete');
    expect(stepsOf(again)).toHaveLength(6);
    expect(
      stepsOf(again).filter(({ cached }) => !cached),
      again.text,
    ).toEqual([]);
    expect(again.view.digest).toBe(first.view.digest);
    // Nothing was sent to the registry: a blob that comes again is written again.
    expect(await storedBlobs()).toEqual(stored);
    expect(Object.keys(stored).length).toBeGreaterThan(5);
    const copied = await buildFolder(await laterCopy(`later-${kind}`), kind, repository);
    expect(copied.view.phase, copied.text).toBe('complete');
    expect(
      stepsOf(copied).filter(({ cached }) => !cached),
      copied.text,
    ).toEqual([]);
    expect(copied.view.digest).toBe(first.view.digest);
    console.info(`${kind}: the second build took ${seconds} s`);
  },
);

test('a file that changed makes everything anew from its COPY on, and nothing before', async () => {
  const repository = 'layers/changed';
  const first = await buildFolder(context, 'tar.gz', repository);
  expect(first.view.phase, first.text).toBe('complete');
  const changed = await laterCopy('changed');
  await writeFile(join(changed, 'src/b'), 'B\n');
  const second = await buildFolder(changed, 'tar.gz', repository);
  expect(second.view.phase, second.text).toBe('complete');
  expect(
    stepsOf(second).map(({ cached }) => cached),
    second.text,
  ).toEqual([true, true, true, false, false, false]);
  expect(second.view.digest).not.toBe(first.view.digest);
});
