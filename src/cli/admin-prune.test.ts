import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { ManualClock } from '../base/clock.ts';
import { adminPrune } from './admin-prune.ts';

const builds = '/api/v1/repository/root/web/build/';
const prune = '/api/v1/superuser/prune';
let server: ApiHarness;
let clock: ManualClock;
let root: string;

beforeEach(async () => {
  clock = new ManualClock(Date.now());
  server = await startApiServer({ clock });
  root = await server.addUser('root', { superuser: true });
  await server.addRepository('root/web');
});
afterEach(async () => await server[Symbol.asyncDispose]());

function terminal(token = root): MemoryTerminal {
  return new MemoryTerminal({ server: server.url, token });
}

async function finished(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) {
    const { json } = await server.call('POST', builds, {
      token: root,
      body: { archive_url: 'https://sources.example/source.tar.gz' },
    });
    await server.call('DELETE', `${builds}${json.id}`, { token: root });
  }
}

async function left(): Promise<number> {
  const { json } = await server.call('GET', `${builds}?limit=100`, { token: root });
  return (json.builds as unknown[]).length;
}

describe('slipway admin prune', () => {
  it('counts first, removes only when it is confirmed, and says the same', async () => {
    await finished(3);
    await clock.advance(31 * 24 * 3_600_000);
    await finished(1);
    const counted = terminal();
    await adminPrune(counted.terminal, { keepYoungerThan: '720h' });
    expect(counted.printed).toContain('Would remove builds that ended before');
    expect(counted.printed).toContain('3 builds, 3 jobs, 3 attempts');
    expect(counted.printed).toContain('--confirm');
    expect(await left()).toBe(4);
    const json = terminal();
    await adminPrune(json.terminal, { keepYoungerThan: '30d', json: true });
    expect(JSON.parse(json.printed)).toMatchObject({ builds: 3, jobs: 3, confirmed: false });
    const removed = terminal();
    await adminPrune(removed.terminal, { keepYoungerThan: '720h', confirm: true });
    expect(removed.printed).toContain('Removed builds that ended before');
    expect(removed.printed).toContain('3 builds, 3 jobs, 3 attempts');
    expect(await left()).toBe(1);
    const { records } = (await server.call('GET', '/api/v1/superuser/audit', { token: root })).json;
    expect(records).toContainEqual(
      expect.objectContaining({
        action: 'builds.prune',
        detail: expect.objectContaining({ confirm: true, builds: 3 }),
      }),
    );
  });

  it('is for superusers, and wants a time span', async () => {
    const nobody = terminal(await server.addUser('ada'));
    await expect(adminPrune(nobody.terminal, { keepYoungerThan: '720h' })).rejects.toMatchObject({
      status: 403,
    });
    for (const keepYoungerThan of ['720', 'a month', '', '-1h'])
      await expect(adminPrune(terminal().terminal, { keepYoungerThan })).rejects.toMatchObject({
        code: 'usage',
      });
  });
});

describe('POST /api/v1/superuser/prune', () => {
  it.each([
    [{}],
    [{ keep_younger_than: '720' }],
    [{ keep_younger_than: '1h', before: 1 }],
    [{ before: Number.MAX_SAFE_INTEGER }],
    [{ before: 1.5 }],
    [{ keep_younger_than: '1h', confirm: 'certainly' }],
    [{ keep_younger_than: '1h', cofirm: true }],
  ])('refuses %j', async (body) => {
    const { status, json } = await server.call('POST', prune, { token: root, body });
    expect(status, JSON.stringify(json)).toBe(400);
  });

  it('takes the time of an answer, so that several requests mean the same builds', async () => {
    await finished(2);
    await clock.advance(3_600_000);
    const counted = await server.call('POST', prune, { token: root, body: { keep_younger_than: '30m' } });
    expect(counted.json).toMatchObject({ builds: 2, confirmed: false, done: true });
    await finished(1);
    await clock.advance(3_600_000);
    const { json } = await server.call('POST', prune, {
      token: root,
      body: { before: counted.json.before, confirm: true },
    });
    expect(json).toMatchObject({ builds: 2, confirmed: true, done: true, before: counted.json.before });
    expect(await left()).toBe(1);
  });

  it('never takes what is not over', async () => {
    await server.call('POST', builds, {
      token: root,
      body: { archive_url: 'https://sources.example/source.tar.gz' },
    });
    await clock.advance(1e12);
    const body = { keep_younger_than: '0s', confirm: true };
    const { json } = await server.call('POST', prune, { token: root, body });
    expect(json).toMatchObject({ builds: 0, done: true });
    expect(await left()).toBe(1);
  });
});
