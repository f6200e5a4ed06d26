import { spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { EmbeddedRegistry, type EmbeddedRegistryEvent } from './embedded-registry.ts';
import { recordProcess } from './left-over-process.ts';
import { loadSigningKey } from './signing-key.ts';

let folder: string;
let events: EmbeddedRegistryEvent[];

async function registry(overrides: Partial<ConstructorParameters<typeof EmbeddedRegistry>[0]> = {}) {
  return new EmbeddedRegistry({
    folder: path.join(folder, 'registry'),
    key: await loadSigningKey(path.join(folder, 'keys'), systemClock),
    issuer: 'slipway',
    service: 'slipway-registry',
    realm: 'http://127.0.0.1/v2/auth',
    clock: systemClock,
    onEvent: (event) => events.push(event),
    ...overrides,
  });
}

/** Waits for a condition; fails with the last value after 10 s. */
async function until<T>(read: () => T | Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > end) throw new Error(`still ${JSON.stringify(value)}`);
    await sleep(10);
  }
}

const isAlive = async (pid: number) => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return status !== '' && !/^State:\s+Z/m.test(status);
};

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-embedded-'));
  events = [];
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('EmbeddedRegistry', () => {
  test('starts, is reachable by its own account only, and leaves nothing running', async () => {
    const embedded = await registry();
    await embedded.start();
    const pid = embedded.pid ?? 0;
    expect(embedded.state).toBe('running');
    expect((await stat(path.dirname(embedded.socketPath))).mode & 0o777).toBe(0o700);
    expect(events).toMatchObject([{ kind: 'started', pid }]);
    await embedded.stop();
    expect(embedded.state).toBe('stopped');
    expect(await isAlive(pid)).toBe(false);
    await embedded.start();
    expect(embedded.pid).not.toBe(pid);
    await embedded.stop();
  });

  test('is started again when it dies, and tells so', async () => {
    await using embedded = await registry();
    await embedded.start();
    const first = embedded.pid ?? 0;
    process.kill(first, 'SIGKILL');
    await until(
      () => embedded.pid,
      (pid) => pid !== undefined && pid !== first && embedded.state === 'running',
    );
    expect(events.map((event) => event.kind)).toEqual(['started', 'exited', 'started']);
    expect(events[1]).toMatchObject({ reason: 'signal SIGKILL' });
  });

  test('stops while it waits to start again', async () => {
    const embedded = await registry();
    await embedded.start();
    process.kill(embedded.pid ?? 0, 'SIGKILL');
    await until(
      () => embedded.state,
      (state) => state === 'waiting',
    );
    await embedded.stop();
    expect(embedded.state).toBe('stopped');
    expect(embedded.pid).toBeUndefined();
  });

  test('a program that is not there is a clear error', async () => {
    const embedded = await registry({ program: '/nowhere/docker-registry' });
    await expect(embedded.start()).rejects.toMatchObject({
      name: 'RegistryError',
      code: 'unavailable',
      message: expect.stringContaining('docker-registry'),
    });
    expect(embedded.state).toBe('stopped');
  });

  test('an aborted start leaves no child', async () => {
    const embedded = await registry();
    const abort = new AbortController();
    const started = embedded.start(abort.signal);
    await until(
      () => embedded.pid,
      (pid) => pid !== undefined,
    );
    const pid = embedded.pid ?? 0;
    abort.abort();
    await expect(started).rejects.toMatchObject({ name: 'AbortError' });
    expect(await isAlive(pid)).toBe(false);
    expect(embedded.state).toBe('stopped');
  });

  test.skipIf(process.getuid?.() !== 0)('runs as another account', async () => {
    const shared = await mkdtemp(path.join('/var/tmp', 'slipway-embedded-'));
    try {
      await using embedded = await registry({
        folder: path.join(shared, 'registry'),
        account: { uid: 65534, gid: 65534 },
      });
      // The account has to get to its own folder, and to nothing else in this one.
      await chmod(shared, 0o711);
      await embedded.start();
      const status = await readFile(`/proc/${embedded.pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
    } finally {
      await rm(shared, { recursive: true });
    }
  });

  test('does not outlive a server that is killed', async () => {
    const script = path.join(folder, 'server.ts');
    const from = (file: string) => JSON.stringify(path.join(import.meta.dirname, file));
    await writeFile(
      script,
      `import { EmbeddedRegistry } from ${from('embedded-registry.ts')};
       import { loadSigningKey } from ${from('signing-key.ts')};
       import { systemClock as clock } from ${from('../base/clock.ts')};
       const key = await loadSigningKey(${JSON.stringify(path.join(folder, 'keys'))}, clock);
       const embedded = new EmbeddedRegistry({ folder: ${JSON.stringify(path.join(folder, 'registry'))}, key, clock,
         issuer: 'slipway', service: 'slipway-registry', realm: 'http://127.0.0.1/v2/auth' });
       await embedded.start();
       console.log(embedded.pid);`,
    );
    const server = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(await new Promise<Buffer>((resolve) => server.stdout.once('data', resolve)));
    expect(await isAlive(pid)).toBe(true);
    server.kill('SIGKILL');
    await until(
      () => isAlive(pid),
      (alive) => !alive,
    );
  });

  test('a start ends the registry of a server that died before it', async () => {
    const embedded = await registry();
    await embedded.start();
    await embedded.stop();
    const home = path.join(folder, 'registry');
    const leftOver = spawn('docker-registry', ['serve', path.join(home, 'config.yml')], { stdio: 'ignore' });
    const pid = leftOver.pid ?? 0;
    await recordProcess(path.join(home, 'registry.pid'), pid);
    await embedded.start();
    expect(events).toContainEqual({ kind: 'left-over-ended', pid });
    expect(await isAlive(pid)).toBe(false);
    expect(embedded.state).toBe('running');
    await embedded.stop();
  });

  test('a pid file that names another process harms nobody', async () => {
    const bystander = spawn('sleep', ['60']);
    try {
      const embedded = await registry();
      await embedded.start();
      await embedded.stop();
      const stats = await readFile(`/proc/${bystander.pid}/stat`, 'utf8');
      const startTime = stats.slice(stats.lastIndexOf(')') + 2).split(' ')[19];
      await writeFile(
        path.join(folder, 'registry', 'registry.pid'),
        JSON.stringify({ pid: bystander.pid, startTime }),
      );
      await embedded.start();
      await embedded.stop();
      expect(await isAlive(bystander.pid ?? 0)).toBe(true);
      expect(events.filter((event) => event.kind === 'left-over-ended')).toEqual([]);
    } finally {
      bystander.kill('SIGKILL');
    }
  });
});
