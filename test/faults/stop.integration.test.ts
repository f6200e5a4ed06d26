import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { processesOf, SlipwayServer, until } from '../harness/slipway-server.ts';
import { askForBuild, dockerfile, leftovers, ticking, ticksIn, upTo, workersOf } from './fault-build.ts';

/** Stopping a server in order: what runs may end, or goes back to the queue. */

test('--drain lets a running build end', async ({ onTestFinished }) => {
  const server = await SlipwayServer.start(['--drain', '20']);
  onTestFinished(() => server.dispose());
  const build = await askForBuild(server, dockerfile(ticking(60, 20)));
  const following = build.follow();
  await build.says(/^tick \S+ 5 /);
  expect(await server.kill('SIGTERM')).toBe(0);
  expect(await processesOf(server.data)).toEqual([]);
  expect(await leftovers(server.data)).toEqual([]);
  await server.start();
  const view = await build.view();
  expect(view).toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
  expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
  expect(ticksIn(await build.log()).map(({ numbers }) => numbers)).toEqual([upTo(60)]);
  expect(await following).toEqual(await build.log());
});

test.each(['SIGTERM', 'SIGINT'] as const)('%s with --drain 0 gives a running build back', async (signal) => {
  const server = await SlipwayServer.start(['--drain', '0', '--retry-delay', '0']);
  try {
    const build = await askForBuild(server, dockerfile(ticking(120, 20)));
    const following = build.follow();
    await build.says(/^tick \S+ 5 /);
    const told = performance.now();
    expect(await server.kill(signal)).toBe(0);
    expect(performance.now() - told).toBeLessThan(8000);
    expect(await processesOf(server.data)).toEqual([]);
    expect(await leftovers(server.data)).toEqual([]);
    await server.start();
    const view = await build.ends();
    expect(view).toMatchObject({
      phase: 'complete',
      attempts: [{ outcome: 'internal-error', error_code: 'managerlost' }, { outcome: 'complete' }],
    });
    const log = await build.log();
    const runs = ticksIn(log);
    expect(runs).toHaveLength(2);
    expect(runs[0]?.numbers).toEqual(upTo(runs[0]?.numbers.length ?? 0));
    expect(runs[1]?.numbers).toEqual(upTo(120));
    // No try was used up: three are left, as at the beginning.
    expect(log.find(({ type, data }) => type === 'error' && data?.code === 'managerlost')?.message).toMatch(
      /stopped while this build ran.*at once \(3 tries left; this one does not count\)/s,
    );
    expect(await following).toEqual(log);
  } finally {
    await server.dispose();
  }
});

test('a second signal ends a server that drains', async ({ onTestFinished }) => {
  const server = await SlipwayServer.start(['--drain', '600', '--retry-delay', '0']);
  onTestFinished(() => server.dispose());
  const build = await askForBuild(server, dockerfile(ticking(100, 20)));
  await build.says(/^tick \S+ 5 /);
  process.kill(server.pid, 'SIGTERM');
  await until('the server to drain', async () => (await server.output()).includes('SIGTERM: stopping'));
  expect(await server.kill('SIGTERM')).toBe(130);
  await server.start();
  // Its worker lived on, as after a crash.
  expect(await build.ends()).toMatchObject({ phase: 'complete', attempts: [{ outcome: 'complete' }] });
});

test('open connections do not hold a stop up', async ({ onTestFinished }) => {
  const server = await SlipwayServer.start(['--drain', '0']);
  onTestFinished(() => server.dispose());
  const build = await askForBuild(server, dockerfile('echo done'));
  await build.ends();
  const waiting = await askForBuild(server, dockerfile(ticking(500, 20)));
  await waiting.says(/^tick/);
  expect((await waiting.cancel()).status).toBe(201);
  await waiting.ends();
  const running = new AbortController();
  const stream = await server.fetch(`/api/v1/repository/${build.repository}/build/${build.id}/logs/stream`, {
    headers: { accept: 'text/event-stream' },
    signal: running.signal,
  });
  expect(stream.status).toBe(200);
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  for (let count = 0; count < 4; count += 1) {
    const request = get(new URL('/health/instance', server.url), { agent });
    const [response] = (await once(request, 'response')) as [NodeJS.ReadableStream];
    for await (const _ of response);
  }
  const told = performance.now();
  expect(await server.kill('SIGTERM')).toBe(0);
  expect(performance.now() - told).toBeLessThan(2000);
  agent.destroy();
  running.abort();
});

test('a log stream of a build that waits does not hold a stop up', async ({ onTestFinished }) => {
  const server = await SlipwayServer.start(['--drain', '0', '--workers', '1', '--retry-delay', '0']);
  onTestFinished(() => server.dispose());
  const first = await askForBuild(server, dockerfile(ticking(100, 20)));
  await first.says(/^tick/);
  const second = await askForBuild(server, dockerfile('echo second'));
  const stream = await server.fetch(
    `/api/v1/repository/${second.repository}/build/${second.id}/logs/stream`,
    { headers: { accept: 'text/event-stream' } },
  );
  expect(stream.status).toBe(200);
  const ended = stream.text().catch(() => 'cut');
  const told = performance.now();
  expect(await server.kill('SIGTERM')).toBe(0);
  expect(performance.now() - told).toBeLessThan(8000);
  await ended;
  await server.start();
  for (const build of [first, second]) expect((await build.ends()).phase).toBe('complete');
});

const project = resolve(import.meta.dirname, '../..');

async function tryUp(flags: readonly string[]): Promise<{ status: number | null; output: string }> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(project, 'src/bin/slipway.ts'), 'up', ...flags],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SLIPWAY_PROFILE: '/nonexistent/profile' } },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, output };
}

test('a second server is refused: the same data folder, and the same port', async ({ onTestFinished }) => {
  const server = await SlipwayServer.start([]);
  onTestFinished(() => server.dispose());
  const twice = await tryUp(['--data', server.data, '--port', '0']);
  expect(twice.status).toBe(1);
  expect(twice.output).toMatch(
    new RegExp(`process ${server.pid}\\) already uses ${server.data}.*kill ${server.pid}`),
  );
  expect(twice.output).not.toMatch(/\n\s+at /);

  const other = `${server.data}-other`;
  const taken = await tryUp(['--data', other, '--port', new URL(server.url).port]);
  expect(taken.status).toBe(1);
  expect(taken.output).toMatch(
    /Cannot listen on 127\.0\.0\.1:\d+: something else listens there already.*--port/,
  );
  expect(taken.output).not.toMatch(/\n\s+at /);
  expect(await processesOf(other)).toEqual([]);
  expect((await server.fetch('/health/instance')).status).toBe(200);
  expect(await workersOf(server.data)).toEqual([]);
});
