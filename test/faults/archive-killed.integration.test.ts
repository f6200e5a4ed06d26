import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LogEntry } from '../../src/log/log-store.ts';
import { createRepository } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';

/** `kill -9` of the server again and again while it archives many logs. */
let server: SlipwayServer;
const count = 60;
const repository = 'admin/logs';
const builds = `/api/v1/repository/${repository}/build/`;

beforeAll(async () => {
  server = await SlipwayServer.start(['--allow-private', '127.0.0.1']);
  await createRepository(server, 'admin', 'logs');
});

afterAll(async () => {
  await server?.dispose();
});

function rows(query: string): readonly Record<string, unknown>[] {
  const database = new DatabaseSync(join(server.data, 'slipway.db'), { readOnly: true });
  try {
    return database.prepare(query).all();
  } finally {
    database.close();
  }
}

async function blobs(): Promise<readonly string[]> {
  const folder = join(server.data, 'blobs', 'logs');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

test('every log is archived once and whole, whenever the server dies', async () => {
  const ids: string[] = [];
  for (let n = 0; n < count; n += 1) {
    const { id } = await server.json<{ id: string }>('POST', builds, {
      archive_url: 'http://127.0.0.1:1/source.tar.gz',
    });
    ids.push(id);
  }
  const archived = () => rows('select build_id from log_archives').length;
  const cancelling = Promise.allSettled(
    ids.map(async (id) => await server.fetch(`${builds}${id}`, { method: 'DELETE' })),
  );
  for (const least of [1, 10, 25]) {
    await until(`${least} archives`, async () => (archived() >= least ? true : undefined));
    await server.kill('SIGKILL');
    await server.start();
    for (const id of ids) await server.fetch(`${builds}${id}`, { method: 'DELETE' });
  }
  await cancelling;
  await until('all to be archived', async () => (archived() === count ? true : undefined));
  expect(rows('select * from log_chunks')).toEqual([]);
  for (const id of ids) {
    const { logs, total } = await server.json<{ logs: LogEntry[]; total: number }>(
      'GET',
      `${builds}${id}/logs`,
    );
    expect(logs).toHaveLength(total);
    const { phase } = await server.json<{ phase: string }>('GET', `${builds}${id}`);
    expect(logs.filter(({ type, message }) => type === 'phase' && message === phase)).toHaveLength(1);
    expect(logs.at(-1)).toMatchObject({ type: 'phase', message: phase });
  }
  // Blobs of lives that ended before they could claim them are known, and so removed one day.
  const known = new Set(
    rows('select blob_key from log_archives union select blob_key from stray_blobs').map(({ blob_key }) =>
      String(blob_key).split('/').at(-1),
    ),
  );
  for (const blob of await blobs()) expect(known).toContain(blob);
});
