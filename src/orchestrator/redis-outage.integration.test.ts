import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'redis';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { startRedis, type TestRedis } from '../../test/services/redis.ts';
import { systemClock } from '../base/clock.ts';
import { type AttemptId, newAttemptId } from '../model/ids.ts';
import type { OrchestratorEvent } from './orchestrator.ts';
import type { RedisState } from './redis-link.ts';
import { RedisOrchestrator } from './redis-orchestrator.ts';

/** What becomes of attempts and events while Redis is restarted, killed, emptied, frozen or cut off. */

let redis: TestRedis;
let prefix: string;
const opened: { orchestrator: RedisOrchestrator; beating: AbortController; worker: Promise<void>[] }[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(async () => {
  await redis[Symbol.asyncDispose]();
});
beforeEach(() => {
  prefix = `${randomUUID()}/`;
});
afterEach(async () => {
  for (const { orchestrator, beating, worker } of opened.splice(0)) {
    beating.abort();
    await Promise.all(worker);
    await orchestrator.close();
  }
});

/** A manager, and what it heard. `port`: another way to Redis. */
async function manager(port = redis.port) {
  const states: RedisState[] = [];
  const events: OrchestratorEvent[] = [];
  const orchestrator = await RedisOrchestrator.open({
    server: { host: '127.0.0.1', port, database: 0 },
    prefix,
    clock: systemClock,
    timing: {
      writeEvery: 10,
      lookEvery: 20,
      scanEvery: 100,
      patience: 300,
      backOff: { first: 20, cap: 100 },
    },
    onState: (state) => states.push(state),
  });
  orchestrator.subscribe((event) => events.push(event));
  const rig = { orchestrator, beating: new AbortController(), worker: [] as Promise<void>[] };
  opened.push(rig);
  return {
    orchestrator,
    states,
    events,
    expired: () => events.filter(({ kind }) => kind === 'expired'),
    /** A worker that lives, and beats as workers do. */
    live: (attempt: AttemptId, ttl: number) => {
      rig.worker.push(
        (async () => {
          while (!rig.beating.signal.aborted) {
            await orchestrator.beat(attempt, ttl);
            await sleep(ttl / 10);
          }
        })(),
      );
    },
  };
}

async function until(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !(await look()); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

async function administer() {
  return await createClient({ socket: { host: '127.0.0.1', port: redis.port, reconnectStrategy: false } })
    .on('error', () => {})
    .connect();
}

async function keysOf(attempt: AttemptId): Promise<number> {
  const admin = await administer();
  try {
    const tracked = (await admin.hExists(`${prefix}beats`, attempt)) === 1 ? 1 : 0;
    return tracked + (await admin.exists(`${prefix}beat:${attempt}`));
  } finally {
    admin.destroy();
  }
}

/** Milliseconds that the slowest of these calls took. */
async function slowest(calls: readonly (() => Promise<unknown>)[]): Promise<number> {
  const times = calls.map(async (call) => {
    const began = performance.now();
    await call();
    return performance.now() - began;
  });
  return Math.max(...(await Promise.all(times)));
}

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a restart after ${signal} expires nobody, and everything works again by itself`, async () => {
    const [one, other] = [await manager(), await manager()];
    const attempt = newAttemptId();
    one.live(attempt, 2_000);
    await until('it to be tracked', async () => (await keysOf(attempt)) === 2);
    await other.orchestrator.lastBeat(attempt);
    await redis.end(signal);
    await until('both to notice', () => !one.orchestrator.connected && !other.orchestrator.connected);
    const state = one.states.at(-1);
    expect(state?.kind === 'disconnected' && state.error.code).toBe('unreachable');
    await redis.start();
    await until('both to be back', () => one.orchestrator.connected && other.orchestrator.connected);
    await until('it to be tracked again', async () => (await keysOf(attempt)) === 2);
    await until('events to flow again', async () => {
      await one.orchestrator.publish({ kind: 'cancel', attemptId: attempt });
      return other.events.some(({ kind }) => kind === 'cancel');
    });
    const admin = await administer();
    const flags = (await admin.configGet('notify-keyspace-events'))['notify-keyspace-events'];
    expect([...(flags ?? '')].toSorted()).toEqual(['K', 'x']);
    admin.destroy();
    expect([...one.expired(), ...other.expired()]).toEqual([]);
  });
}

test('while Redis is away for longer than a time to live, calls are quick, nobody expires, and then silence counts', async () => {
  const [one, other] = [await manager(), await manager()];
  const [alive, silent] = [newAttemptId(), newAttemptId()];
  one.live(alive, 600);
  await one.orchestrator.beat(silent, 600);
  await until('the other to know both', async () => {
    const known = await Promise.all([alive, silent].map((id) => other.orchestrator.lastBeat(id)));
    return known.every((beat) => beat !== undefined);
  });
  await redis.end('SIGKILL');
  await until('both to notice', () => !one.orchestrator.connected && !other.orchestrator.connected);
  const gone = newAttemptId();
  const took = await slowest(
    Array.from({ length: 500 }, () => [
      () => one.orchestrator.beat(gone, 600),
      () => one.orchestrator.lastBeat(newAttemptId()),
      () => other.orchestrator.lastBeat(alive),
      () => one.orchestrator.publish({ kind: 'cancel', attemptId: gone }),
      () => one.orchestrator.forget(gone),
    ]).flat(),
  );
  expect(took).toBeLessThan(2_000);
  await sleep(1_500);
  // Nobody can know whether another manager hears them.
  for (const { orchestrator } of [one, other]) {
    for (const attempt of [alive, silent, newAttemptId()]) {
      expect(Date.now() - ((await orchestrator.lastBeat(attempt)) ?? 0)).toBeLessThan(600);
    }
  }
  expect([...one.expired(), ...other.expired()]).toEqual([]);
  await redis.start();
  await until('both to be back', () => one.orchestrator.connected && other.orchestrator.connected);
  const back = Date.now();
  await until('the silent one to expire', () => one.expired().length > 0 && other.expired().length > 0);
  expect(Date.now() - back).toBeGreaterThan(300);
  const expected = [{ kind: 'expired', attemptId: silent }];
  expect([one.expired(), other.expired()]).toEqual([expected, expected]);
});

test('after FLUSHALL who lives is tracked again, and who does not expires in time', async () => {
  const [one, other] = [await manager(), await manager()];
  const [alive, silent] = [newAttemptId(), newAttemptId()];
  // Longer than the busiest machine needs to write a beat again, shorter than this takes.
  one.live(alive, 2_000);
  await one.orchestrator.beat(silent, 900);
  const last = Date.now();
  await until('the other to know both', async () => {
    const known = await Promise.all([alive, silent].map((id) => other.orchestrator.lastBeat(id)));
    return known.every((beat) => beat !== undefined);
  });
  const admin = await administer();
  await admin.flushAll();
  expect(await other.orchestrator.lastBeat(alive)).toBeDefined();
  expect(await other.orchestrator.lastBeat(silent)).toBeDefined();
  await until('it to be tracked again', async () => (await keysOf(alive)) === 2);
  for (let flush = 0; flush < 10; flush += 1) {
    await admin.flushAll();
    await sleep(100);
  }
  admin.destroy();
  await until('the silent one to expire', () => one.expired().length > 0 && other.expired().length > 0);
  expect(Date.now() - last).toBeGreaterThan(850);
  await sleep(1_200);
  const expected = [{ kind: 'expired', attemptId: silent }];
  expect([one.expired(), other.expired()]).toEqual([expected, expected]);
  expect([one.orchestrator.connected, other.orchestrator.connected]).toEqual([true, true]);
});

test('a Redis that stands still is given up on, and found again when it goes on', async () => {
  const [one, other] = [await manager(), await manager()];
  const attempt = newAttemptId();
  one.live(attempt, 800);
  await until('the other to know', async () => (await other.orchestrator.lastBeat(attempt)) !== undefined);
  redis.freeze(true);
  try {
    const took = await slowest([
      () => one.orchestrator.lastBeat(newAttemptId()),
      () => other.orchestrator.lastBeat(attempt),
      () => other.orchestrator.publish({ kind: 'cancel', attemptId: attempt }),
      () => other.orchestrator.forget(newAttemptId()),
      () => other.orchestrator.beat(newAttemptId(), 10_000),
    ]);
    expect(took).toBeLessThan(2_000);
    await until('both to give up', () => !one.orchestrator.connected && !other.orchestrator.connected);
    const failures = one.states.map((state) =>
      state.kind === 'disconnected' ? state.error.code : state.kind,
    );
    expect(failures).toContain('no-answer');
    await sleep(1_200);
  } finally {
    redis.freeze(false);
  }
  await until('both to be back', () => one.orchestrator.connected && other.orchestrator.connected);
  await until('it to be tracked', async () => (await keysOf(attempt)) === 2);
  await sleep(300);
  expect([...one.expired(), ...other.expired()]).toEqual([]);
});

test.each(['normal', 'pubsub'] as const)('a %s connection that is cut is opened again', async (type) => {
  const [one, other] = [await manager(), await manager()];
  const attempt = newAttemptId();
  one.live(attempt, 1_000);
  for (let cut = 1; cut <= 3; cut += 1) {
    await until('both to be connected', () => one.orchestrator.connected && other.orchestrator.connected);
    const admin = await administer();
    await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes']);
    admin.destroy();
    await until('both to notice', () =>
      [one, other].every(({ states }) => states.filter(({ kind }) => kind === 'disconnected').length >= cut),
    );
  }
  await until('events to flow again', async () => {
    await one.orchestrator.publish({ kind: 'cancel', attemptId: attempt });
    return other.events.some(({ kind }) => kind === 'cancel');
  });
  await until('it to be tracked', async () => (await keysOf(attempt)) === 2);
  expect([...one.expired(), ...other.expired()]).toEqual([]);
});

test('on a bad line one manager is deaf for a while, and takes nobody for dead', async () => {
  await using line = await TcpProxy.open({ targets: [redis.port] });
  const [port = 0] = line.ports;
  const [far, near] = [await manager(port), await manager()];
  const attempt = newAttemptId();
  near.live(attempt, 800);
  await until('the far one to know', async () => (await far.orchestrator.lastBeat(attempt)) !== undefined);
  for (const weather of ['stalled', 'cut'] as const) {
    line.set({ kind: weather });
    await until('it to notice', () => !far.orchestrator.connected);
    // Longer than a time to live.
    await sleep(1_000);
    expect(await slowest([() => far.orchestrator.lastBeat(attempt)])).toBeLessThan(1_000);
    line.set({ kind: 'slow', delay: 40 });
    await until('it to be back', () => far.orchestrator.connected);
    const word = { kind: 'cancel', attemptId: newAttemptId() } as const;
    await until('it to hear again', async () => {
      await near.orchestrator.publish(word);
      return far.events.some((event) => event.kind === 'cancel' && event.attemptId === word.attemptId);
    });
  }
  // What beats on is known over a slow line too.
  for (let look = 0; look < 10; look += 1) {
    expect(Date.now() - ((await far.orchestrator.lastBeat(attempt)) ?? 0)).toBeLessThan(800);
    await sleep(100);
  }
  expect([...far.expired(), ...near.expired()]).toEqual([]);
});

test('a hundred thousand hints while Redis is away are not all kept; the latest are told', async () => {
  const [one, other] = [await manager(), await manager()];
  await redis.end('SIGKILL');
  await until('it to notice', () => !one.orchestrator.connected && !other.orchestrator.connected);
  let last = newAttemptId();
  for (let hint = 0; hint < 100_000; hint += 1) {
    last = newAttemptId();
    await one.orchestrator.publish({ kind: 'cancel', attemptId: last });
  }
  await redis.start();
  await until('the latest to be told', async () => {
    // Those sent before the other listens again are lost, as hints may be.
    await one.orchestrator.publish({ kind: 'cancel', attemptId: last });
    return other.events.some((event) => event.kind === 'cancel' && event.attemptId === last);
  });
  expect(other.events.length).toBeLessThan(3_000);
});

test('without Redis from the start it works for this process, and joins the others later', async () => {
  await redis.end('SIGKILL');
  const alone = await manager();
  expect(alone.orchestrator.connected).toBe(false);
  const attempt = newAttemptId();
  alone.live(attempt, 1_000);
  await until('it to know its own', async () => (await alone.orchestrator.lastBeat(attempt)) !== undefined);
  await alone.orchestrator.publish({ kind: 'cancel', attemptId: attempt });
  expect(alone.events).toEqual([{ kind: 'cancel', attemptId: attempt }]);
  await redis.start();
  const other = await manager();
  await until('it to join', () => alone.orchestrator.connected);
  await until('the other to know', async () => (await other.orchestrator.lastBeat(attempt)) !== undefined);
});

test('closing is quick in any state', async () => {
  for (const trouble of ['none', 'frozen', 'dead'] as const) {
    const { orchestrator } = await manager();
    await orchestrator.beat(newAttemptId(), 60_000);
    await orchestrator.publish({ kind: 'cancel', attemptId: newAttemptId() });
    if (trouble === 'frozen') redis.freeze(true);
    if (trouble === 'dead') await redis.end('SIGKILL');
    expect(await slowest([() => orchestrator.close()])).toBeLessThan(3_000);
    redis.freeze(false);
    if (trouble === 'dead') await redis.start();
  }
});
