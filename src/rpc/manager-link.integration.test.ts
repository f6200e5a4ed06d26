import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import type { MemoryAttempt } from '../../test/fakes/memory-sessions.ts';
import { systemClock } from '../base/clock.ts';
import { ManagerLink, type ManagerLinkOptions } from './manager-link.ts';

/** Passes bytes on to the manager, and cuts each connection after so many bytes of either side. */
class CuttingProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  cuts = 0;
  limit = Number.POSITIVE_INFINITY;

  constructor(target: string) {
    const [host, port] = target.split(':');
    this.#server = createServer((client) => {
      const manager = connect(Number(port), host);
      let passed = 0;
      for (const [from, to] of [
        [client, manager],
        [manager, client],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => {});
        from.on('close', () => {
          this.#sockets.delete(from);
          to.destroy();
        });
        from.on('data', (chunk: Buffer) => {
          passed += chunk.length;
          if (passed <= this.limit) to.write(chunk);
          else {
            this.cuts++;
            from.destroy();
          }
        });
      }
    });
  }

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const capabilities = { version: '1', logBatches: true, pushesByDigest: true, engine: 'dummy', platform: '' };
let manager: ManagerServer;
let attempt: MemoryAttempt;
let link: ManagerLink;
const cleanups: (() => void)[] = [];

beforeEach(async () => {
  manager = await ManagerServer.start();
  attempt = manager.sessions.add();
});

afterEach(async () => {
  await link.close();
  for (const clean of cleanups.splice(0)) clean();
  await manager.stop(0);
  expect(manager.connections).toBe(0);
});

async function register(options: Partial<ManagerLinkOptions> = {}): Promise<void> {
  link = new ManagerLink({
    server: manager.address,
    clock: systemClock,
    log: () => {},
    heartbeatEvery: 50,
    ...options,
  });
  await link.connect();
  await link.register(await manager.registrationToken(attempt.identity), capabilities);
}

const run = (text: string) => [{ text: Buffer.from(text), count: 1, time: 1_700_000_000_000 }];
const texts = () => attempt.log.map(({ text }) => Buffer.from(text).toString());

test('batches arrive once and in order over connections that are cut again and again', async () => {
  const proxy = new CuttingProxy(manager.address);
  cleanups.push(() => proxy.close());
  await register({ server: await proxy.listen() });
  proxy.limit = 60_000;
  const expected: string[] = [];
  const stages: number[] = [];
  for (let n = 0; n < 400; n++) {
    const text = `${n} ${'x'.repeat((n * 37) % 2000)}`;
    expected.push(text);
    await link.log.send(run(text));
    if (n % 100 === 50) {
      void link.log.barrier(async () => {
        stages.push(attempt.log.length);
      });
    }
  }
  await link.log.drained();
  expect(texts()).toEqual(expected);
  // What a barrier does happens exactly between the lines before and behind it.
  expect(stages).toEqual([51, 151, 251, 351]);
  expect(proxy.cuts).toBeGreaterThan(3);
});

test('a phase whose answer is lost is asked again, and counts once', async () => {
  const proxy = new CuttingProxy(manager.address);
  cleanups.push(() => proxy.close());
  await register({ server: await proxy.listen(), heartbeatEvery: 10 });
  proxy.limit = 3_000;
  for (const stage of ['unpacking', 'pulling', 'building', 'pushing'] as const) {
    for (let n = 0; n < 5; n++) expect(await link.setPhase({ kind: 'stage', stage })).toBe(true);
  }
  expect(attempt.reports).toHaveLength(20);
});

test('a sender waits when as much as the buffer holds is on its way', async () => {
  let held = true;
  manager.sessions.beforeLog = async () => {
    while (held) await systemClock.sleep(5);
  };
  await register({ logBuffer: 10_000 });
  let sent = 0;
  const sending = (async () => {
    for (; sent < 50; sent++) await link.log.send(run('x'.repeat(1000)));
  })();
  const beats = attempt.heartbeats;
  await manager.sessions.until(() => attempt.heartbeats > beats + 3);
  expect(sent).toBeLessThan(12);
  held = false;
  await sending;
  await link.log.drained();
  expect(texts()).toHaveLength(50);
});

test('a manager that lost what it had confirmed ends the link: the log could not be whole any more', async () => {
  await register();
  for (let n = 0; n < 3; n++) await link.log.send(run(`${n}`));
  await link.log.drained();
  attempt.lastSequence = 1;
  await link.log.send(run('3'));
  await expect(link.log.drained()).rejects.toMatchObject({ code: 'protocol' });
  expect(link.ended.reason).toMatchObject({ code: 'protocol' });
});

test('after the end, sending is quiet and waiting rejects', async () => {
  await register();
  attempt.over = true;
  await expect(link.setPhase({ kind: 'complete' })).rejects.toMatchObject({ code: 'refused' });
  await link.log.send(run('late'));
  await expect(link.log.drained()).rejects.toMatchObject({ code: 'refused' });
});
