import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processesOf, until } from './harness/slipway-server.ts';

/** `slipway demo`, as a newcomer runs it, with a data folder and a temporary folder that can be looked at. */
let folder: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-demo-'));
  await chmod(folder, 0o711);
});

afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

function demo(...flags: string[]) {
  const started = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      resolve(import.meta.dirname, '../src/bin/slipway.ts'),
      'demo',
      '--data',
      join(folder, 'data'),
      '--port',
      '0',
      ...flags,
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: folder, SLIPWAY_PROFILE: join(folder, 'profile.json') },
    },
  );
  child = started;
  let output = '';
  for (const stream of [started.stdout, started.stderr])
    stream.on('data', (text: Buffer) => {
      output += text.toString();
    });
  return { ended: once(started, 'exit'), output: () => output, process: started };
}

async function expectNothingLeft(): Promise<void> {
  expect(await processesOf(folder)).toEqual([]);
  expect((await readdir(folder)).filter((name) => name.startsWith('slipway-hello-'))).toEqual([]);
}

test('demo --exit builds, pulls the image back, and ends with status 0 when the digests agree', async () => {
  const { ended, output } = demo('--exit');
  const [status] = await ended;
  expect(status, output()).toBe(0);
  const digests = [...output().matchAll(/digest\s+(sha256:[0-9a-f]{64})/g)].map(([, digest]) => digest);
  // The one that the build reported, and the one that the registry served.
  expect(digests).toHaveLength(2);
  expect(digests[0]).toBe(digests[1]);
  expect(output()).toMatch(/Pulled back from the registry/);
  await expectNothingLeft();
  expect(await readdir(folder)).toEqual(['data']);
});

test('a demo that is ended while it builds leaves nothing behind', async () => {
  const { ended, output, process: running } = demo();
  await until('the build', async () => output().includes('STEP 2/'));
  running.kill('SIGTERM');
  const [status] = await ended;
  expect(status, output()).toBe(130);
  await expectNothingLeft();
});
