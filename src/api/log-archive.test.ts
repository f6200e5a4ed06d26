import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { ManualClock, systemClock } from '../base/clock.ts';
import { ArchiveKeeper } from '../log/archive-keeper.ts';
import type { BuildId } from '../model/ids.ts';

let server: ApiHarness;
let clock: ManualClock;
let token: string;
let root: string;
let id: BuildId;
const builds = '/api/v1/repository/owner/web/build/';

beforeEach(async () => {
  clock = new ManualClock(Date.now());
  server = await startApiServer({ clock });
  token = await server.addUser('owner');
  root = await server.addUser('root', { superuser: true });
  await server.addRepository('owner/web');
  const { json } = await server.call('POST', builds, {
    token,
    body: { archive_url: 'https://sources.example/source.tar.gz' },
  });
  id = json.id as BuildId;
  await server.call('DELETE', `${builds}${id}`, { token });
  const lines = Array.from({ length: 12_000 }, (_, n) => `line ${n}`);
  await server.logs.append(id, { kind: 'manager' }, [
    { text: Buffer.from(lines.join('\n')), count: lines.length, time: 1_700_000_000_000 },
    { text: Buffer.from([0xff, 0xfe, 0x00]), count: 1, time: 1_700_000_000_001, type: 'error' },
  ]);
  await server.logs.close(id, [{ type: 'phase', message: 'cancelled', data: { by: 'owner' } }]);
});
afterEach(async () => await server[Symbol.asyncDispose]());

async function archive(): Promise<void> {
  const done = Promise.withResolvers<void>();
  await using keeper = new ArchiveKeeper({
    database: server.database,
    blobs: server.blobs,
    clock: systemClock,
    onError: done.reject,
    onArchived: () => done.resolve(),
  });
  keeper.start();
  await done.promise;
}

/** The entries with their positions in all events of a stream, and how it ends. */
async function streamed(lastEventId?: string) {
  const response = await fetch(`${server.url}${builds}${id}/logs/stream`, {
    headers: {
      authorization: `Bearer ${token}`,
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    },
  });
  const entries: unknown[] = [];
  const others: string[] = [];
  let next: number | undefined;
  for (const block of (await response.text()).split('\n\n')) {
    const data = /^data: (.*)$/m.exec(block)?.[1];
    if (data === undefined) continue;
    const event = /^event: (.*)$/m.exec(block)?.[1] ?? '';
    if (event !== 'log') {
      others.push(event);
      continue;
    }
    const { start, logs } = JSON.parse(data) as { start: number; logs: unknown[] };
    expect(start).toBe(next ?? start);
    next = start + logs.length;
    expect(/^id: (.*)$/m.exec(block)?.[1]).toBe(String(next));
    entries.push(...logs);
  }
  return { entries, others };
}

async function everything() {
  const pages = [];
  for (const query of ['', '?start=5&limit=3', '?start=11990', '?start=12002', '?start=99999']) {
    const { status, json } = await server.call('GET', `${builds}${id}/logs${query}`, { token });
    const { logs_url, ...page } = json;
    pages.push({ status, page });
  }
  const download = await fetch(`${server.url}${builds}${id}/logs/download`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return {
    pages,
    superuser: (await server.call('GET', `/api/v1/superuser/owner/web/build/${id}/logs`, { token: root }))
      .json,
    streams: [await streamed(), await streamed('6000'), await streamed('12002')],
    download: Buffer.from(await download.arrayBuffer()).toString('base64'),
  };
}

test('everything the API says of a log is the same before and after it is archived', async () => {
  const before = await everything();
  expect(before.pages[0]?.page).toMatchObject({ start: 0, total: 12_002 });
  await archive();
  const { count } = await server.database.sql
    .selectFrom('log_chunks')
    .select((on) => on.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  expect(count).toBe(0);
  expect(await everything()).toEqual(before);
});

test('an archived log can be fetched whole, in the shape of a page, by who has its link', async () => {
  const path = `${builds}${id}/logs`;
  const pages = [];
  for (const start of [0, 10_000])
    pages.push((await server.call('GET', `${path}?start=${start}`, { token })).json.logs as unknown[]);
  expect((await server.call('GET', path, { token })).json).not.toHaveProperty('logs_url');
  await archive();
  const { json } = await server.call('GET', path, { token });
  const link = String(json.logs_url);
  expect(link).toMatch(new RegExp(`^${server.url}/logarchive/${id}\\?`));
  const response = await fetch(link);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toContain('application/json');
  expect(await response.json()).toEqual({ start: 0, total: 12_002, logs: pages.flat() });

  expect(
    (
      await fetch(
        link.replace(/signature=../, (found) => (found === 'signature=AA' ? 'signature=BB' : 'signature=AA')),
      )
    ).status,
  ).toBe(403);
  expect(
    (
      await fetch(
        link.replace(
          id,
          id.replace(/^./, (first) => (first === '0' ? '1' : '0')),
        ),
      )
    ).status,
  ).toBe(403);
  await clock.advance(3_601_000);
  expect((await fetch(link)).status).toBe(403);
});

test('a log whose blob is gone says so, and what is known of the build stays', async () => {
  await archive();
  const blobs = join(server.folder, 'blobs', 'logs');
  for (const shard of await readdir(blobs)) await rm(join(blobs, shard), { recursive: true });
  const page = await server.call('GET', `${builds}${id}/logs`, { token });
  expect(page.status).toBe(500);
  expect(page.json.error_message).toContain('not in the blob store');
  const download = await server.call('GET', `${builds}${id}/logs/download`, { token });
  expect(download.status).toBe(500);
  expect((await server.call('GET', `${builds}${id}`, { token })).json.phase).toBe('cancelled');
});

test('the link of a log ends with its build', async () => {
  await archive();
  const { json } = await server.call('GET', `${builds}${id}/logs`, { token });
  await clock.advance(1_800_000);
  await server.retention.prune(clock.now(), new AbortController().signal);
  expect((await fetch(String(json.logs_url))).status).toBe(404);
  for (const path of ['', '/status', '/logs', '/logs/download', '/logs/stream'])
    expect((await server.call('GET', `${builds}${id}${path}`, { token })).status, path).toBe(404);
  expect((await server.call('DELETE', `${builds}${id}`, { token })).status).toBe(404);
});
