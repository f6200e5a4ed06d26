import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRedis, type TestRedis } from '../../test/services/redis.ts';
import { ManualClock, systemClock } from '../base/clock.ts';
import { type AttemptId, newAttemptId, newBuildId } from '../model/ids.ts';
import { orchestratorSuite } from './orchestrator.suite.ts';
import { RedisOrchestrator, type RedisOrchestratorOptions } from './redis-orchestrator.ts';
import type { RedisServer } from './redis-session.ts';

/** This file's own: connections and commands are counted on it, and those of other files would be too. */
let redis: TestRedis;

beforeAll(async () => {
  redis = await startRedis();
});

afterAll(async () => {
  await redis[Symbol.asyncDispose]();
});

function ownServer(database = 0): RedisServer {
  return { host: '127.0.0.1', port: redis.port, database };
}

const quick = {
  writeEvery: 10,
  lookEvery: 20,
  scanEvery: 100,
  patience: 2_000,
  backOff: { first: 20, cap: 100 },
};

async function open(options: Partial<RedisOrchestratorOptions> = {}): Promise<RedisOrchestrator> {
  return await RedisOrchestrator.open({
    server: ownServer(),
    prefix: `${randomUUID()}/`,
    clock: systemClock,
    timing: quick,
    ...options,
  });
}

async function administer(database = 0) {
  const { host, port } = ownServer();
  return await createClient({ socket: { host, port }, database })
    .on('error', () => {})
    .connect();
}

async function until(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !(await look()); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

/** The attempts that it says have expired. */
function expiries(orchestrator: RedisOrchestrator): AttemptId[] {
  const expired: AttemptId[] = [];
  orchestrator.subscribe((event) => {
    if (event.kind === 'expired') expired.push(event.attemptId);
  });
  return expired;
}

describe('redis orchestrator', () => {
  orchestratorSuite(async () => {
    const prefix = `${randomUUID()}/`;
    const admin = await administer();
    const connections = async () =>
      (await admin.sendCommand<string>(['CLIENT', 'LIST']))
        .split('\n')
        .filter((line) => /name=slipway/.test(line)).length;
    const before = await connections();
    const orchestrator = await open({ prefix });
    return {
      orchestrator,
      now: () => Date.now(),
      advance: (milliseconds) => sleep(milliseconds),
      scale: 2,
      precision: 100,
      assertNothingLeft: async () => {
        await until('its connections to be closed', async () => (await connections()) === before);
      },
      [Symbol.asyncDispose]: async () => {
        await orchestrator.close();
        // Whatever is left goes by itself.
        for (const key of await admin.keys(`${prefix}*`)) expect(await admin.pTTL(key)).toBeGreaterThan(0);
        await until('its connections to be closed', async () => (await connections()) === before);
        admin.destroy();
      },
    };
  });
});

test('what one manager hears, another knows, and both are told once when it stops', async () => {
  const prefix = `${randomUUID()}/`;
  const [one, other] = [await open({ prefix }), await open({ prefix })];
  const [atOne, atOther] = [expiries(one), expiries(other)];
  const attempt = newAttemptId();
  const began = Date.now();
  await one.beat(attempt, 600);
  await until('the other to know', async () => (await other.lastBeat(attempt)) !== undefined);
  expect(Math.abs(((await other.lastBeat(attempt)) ?? 0) - began)).toBeLessThan(500);
  await until('both to be told', () => atOne.length > 0 && atOther.length > 0);
  expect(Date.now() - began).toBeGreaterThanOrEqual(550);
  await sleep(300);
  expect([atOne, atOther]).toEqual([[attempt], [attempt]]);
  await Promise.all([one.close(), other.close()]);
});

test('a worker that goes on with another manager does not expire for the first', async () => {
  const prefix = `${randomUUID()}/`;
  const [one, other] = [await open({ prefix }), await open({ prefix })];
  const [atOne, atOther] = [expiries(one), expiries(other)];
  const attempt = newAttemptId();
  await one.beat(attempt, 800);
  for (let beat = 0; beat < 12; beat += 1) {
    await other.beat(attempt, 800);
    await sleep(100);
  }
  const last = await one.lastBeat(attempt);
  expect(Date.now() - (last ?? 0)).toBeLessThan(700);
  expect([...atOne, ...atOther]).toEqual([]);
  await other.forget(attempt);
  await until('the first to have forgotten it', async () => (await one.lastBeat(attempt)) === undefined);
  await sleep(1_000);
  expect([...atOne, ...atOther]).toEqual([]);
  await Promise.all([one.close(), other.close()]);
});

test('events reach the other managers, in order, and the own listeners once', async () => {
  const prefix = `${randomUUID()}/`;
  const [one, other] = [await open({ prefix }), await open({ prefix })];
  const [atOne, atOther]: [unknown[], unknown[]] = [[], []];
  one.subscribe((event) => atOne.push(event));
  other.subscribe((event) => atOther.push(event));
  const events = Array.from({ length: 200 }, (_, index) =>
    index % 2 === 0
      ? ({ kind: 'cancel', attemptId: newAttemptId() } as const)
      : ({ kind: 'log', buildId: newBuildId() } as const),
  );
  for (const event of events) await one.publish(event);
  await until('the other to hear them all', () => atOther.length === events.length);
  expect(atOther).toEqual(events);
  expect(atOne).toEqual(events);
  await Promise.all([one.close(), other.close()]);
});

test('a listener that throws is reported, and the others are told all the same', async () => {
  const warnings: string[] = [];
  const orchestrator = await open({ onWarning: ({ code }) => warnings.push(code) });
  const heard: unknown[] = [];
  orchestrator.subscribe(() => {
    throw new Error('not mine');
  });
  orchestrator.subscribe((event) => heard.push(event));
  await orchestrator.publish({ kind: 'cancel', attemptId: newAttemptId() });
  expect(heard).toHaveLength(1);
  expect(warnings).toEqual(['listener']);
  await orchestrator.close();
});

test('hosts whose clocks are years apart agree how long ago a beat was', async () => {
  const prefix = `${randomUUID()}/`;
  const behind = await open({ prefix, clock: at(0) });
  const ahead = await open({ prefix, clock: at(4_000_000_000_000) });
  const [late, early] = [expiries(behind), expiries(ahead)];
  const attempt = newAttemptId();
  await behind.beat(attempt, 60_000);
  await until('the other to know', async () => (await ahead.lastBeat(attempt)) !== undefined);
  expect(Math.abs(((await ahead.lastBeat(attempt)) ?? 0) - 4_000_000_000_000)).toBeLessThan(5_000);
  expect(Math.abs((await behind.lastBeat(attempt)) ?? Number.NaN)).toBeLessThan(5_000);
  expect([...late, ...early]).toEqual([]);
  await Promise.all([behind.close(), ahead.close()]);
});

/** A clock that stands still at `now`, and whose sleeps take their time. */
function at(now: number) {
  const manual = new ManualClock(now);
  return { now: () => manual.now(), sleep: systemClock.sleep };
}

test('beats and events of another prefix are not seen', async () => {
  const [one, other] = [await open(), await open()];
  const heard: unknown[] = [];
  other.subscribe((event) => heard.push(event));
  const attempt = newAttemptId();
  await one.beat(attempt, 200);
  await one.publish({ kind: 'cancel', attemptId: attempt });
  const expired = expiries(one);
  await until('it to expire', () => expired.length === 1);
  await sleep(200);
  expect(heard).toEqual([]);
  expect(await other.lastBeat(attempt)).toBeUndefined();
  await Promise.all([one.close(), other.close()]);
});

test('keys are in the database that was chosen, and expiries of others are none of ours', async () => {
  const prefix = `${randomUUID()}/`;
  const orchestrator = await open({ prefix, server: ownServer(3) });
  const expired = expiries(orchestrator);
  const [inThree, inZero] = [await administer(3), await administer(0)];
  const attempt = newAttemptId();
  await orchestrator.beat(attempt, 60_000);
  await until('its keys', async () => (await inThree.keys(`${prefix}*`)).length === 2);
  expect(await inZero.keys(`${prefix}*`)).toEqual([]);
  const foreign = newAttemptId();
  await inZero.set(`${prefix}beat:${foreign}`, '', { PX: 1 });
  await until(
    'the foreign key to be gone',
    async () => (await inZero.exists(`${prefix}beat:${foreign}`)) === 0,
  );
  const known = newAttemptId();
  await inThree.set(`${prefix}beat:${known}`, '', { PX: 1 });
  await until('the own database to be heard', () => expired.includes(known));
  expect(expired).toEqual([known]);
  const channel = await inZero.pubSubChannels(`${prefix}*`);
  expect(channel).toEqual([`${prefix}events:3`]);
  await orchestrator.close();
  inThree.destroy();
  inZero.destroy();
});

test('what is written in Redis is believed only when it can be true', async () => {
  const prefix = `${randomUUID()}/`;
  const orchestrator = await open({ prefix });
  const expired = expiries(orchestrator);
  const admin = await administer();
  const [future, nonsense, good] = [newAttemptId(), newAttemptId(), newAttemptId()];
  await admin.hSet(`${prefix}beats`, {
    [future]: `${Date.now() + 3_600_000}:60000`,
    [nonsense]: 'x:y',
    'no id': `${Date.now()}:60000`,
    [good]: `${Date.now()}:800`,
  });
  await until('the good one to be known', async () => (await orchestrator.lastBeat(good)) !== undefined);
  expect(await orchestrator.lastBeat(future)).toBeUndefined();
  expect(await orchestrator.lastBeat(nonsense)).toBeUndefined();
  // By looking alone: there is no key that could expire.
  await until('it to expire', () => expired.length > 0);
  expect(expired).toEqual([good]);
  await until('the rubbish to be gone', async () => (await admin.hLen(`${prefix}beats`)) === 2);
  await admin.del(`${prefix}beats`);
  admin.destroy();
  await orchestrator.close();
});

test('any prefix is one: what means something in a pattern does not, and no two run into each other', async () => {
  const admin = await administer();
  const base = randomUUID();
  const star = await open({ prefix: `${base}*` });
  const other = await open({ prefix: `${base}**[a-z]?` });
  const [atStar, atOther] = [expiries(star), expiries(other)];
  const attempt = newAttemptId();
  await star.beat(attempt, 300);
  await until('its keys', async () => (await admin.exists(`${base}*/beat:${attempt}`)) === 1);
  await until('it to expire', () => atStar.length > 0);
  const another = newAttemptId();
  await other.beat(another, 300);
  await until('the other to expire', () => atOther.length > 0);
  expect([atStar, atOther]).toEqual([[attempt], [another]]);
  await Promise.all([star.close(), other.close()]);
  admin.destroy();
});

test('that a log has grown is told once while it waits to be told', async () => {
  const prefix = `${randomUUID()}/`;
  const [one, other] = [await open({ prefix }), await open({ prefix })];
  const heard: unknown[] = [];
  other.subscribe((event) => heard.push(event));
  const buildId = newBuildId();
  for (let line = 0; line < 1000; line += 1) await one.publish({ kind: 'log', buildId });
  const last = { kind: 'cancel', attemptId: newAttemptId() } as const;
  await one.publish(last);
  await until(
    'the last to be heard',
    () =>
      heard.length > 0 && heard.at(-1) !== undefined && JSON.stringify(heard.at(-1)) === JSON.stringify(last),
  );
  expect(heard).toContainEqual({ kind: 'log', buildId });
  expect(heard.length).toBeLessThan(100);
  await Promise.all([one.close(), other.close()]);
});

test('a thousand running builds take few commands, however often they beat', async () => {
  const prefix = `${randomUUID()}/`;
  const orchestrator = await open({ prefix, timing: {} });
  const admin = await administer();
  const attempts = Array.from({ length: 1000 }, newAttemptId);
  for (const attempt of attempts) await orchestrator.beat(attempt, 60_000);
  const tracked = async () => await admin.hLen(`${prefix}beats`);
  await until('all to be written', async () => (await admin.keys(`${prefix}beat:*`)).length === 1000);
  await admin.configResetStat();
  const began = performance.now();
  for (let round = 0; round < 8; round += 1) {
    for (const attempt of attempts) await orchestrator.beat(attempt, 60_000);
    await sleep(250);
  }
  await until('as long as beats are written again', () => performance.now() - began > 12_000);
  const stats = await admin.info('commandstats');
  const calls = Object.fromEntries(
    [...stats.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].map(([, name, count]) => [name, Number(count)]),
  );
  const { hset = 0, set = 0, hgetall = 0 } = calls;
  expect(hset).toBeGreaterThan(0);
  expect(hset).toBeLessThanOrEqual(4);
  expect(set).toBe(0);
  expect(hgetall).toBeLessThanOrEqual(4);
  for (const attempt of attempts) await orchestrator.forget(attempt);
  await orchestrator.close();
  expect(await tracked()).toBe(0);
  admin.destroy();
});
