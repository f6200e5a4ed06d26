import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { startPostgres } from '../test/services/postgres.ts';
import { serviceFolder } from '../test/services/service.ts';
import { Child } from './manager/child.ts';
import { PostgresLoad } from './manager/postgres-load.ts';
import { scratchDatabase } from './queue/contender.ts';
import { type Figure, report } from './report.ts';
import type { FromSender, FromServer, SenderOptions, ServerOptions, ToServer } from './rpc/messages.ts';

/**
 * The log's way in: gRPC over loopback into the product's port, sessions and store, every answer after the commit, on a
 * PostgreSQL that flushes to disk, and for comparison on SQLite. Server, sender and database share this machine.
 *
 * `single`: LogMessage as the reference worker calls it, which waits for each answer; 50 streams, one connection each.
 * `batches`: LogBatches with 1,000 lines a message, two messages under way; 8 streams.
 */
const milliseconds = Number(process.env.BENCH_MILLISECONDS ?? 10_000);
const streams = { single: 50, batches: 8 };
const atLeast = { single: 8_000, batches: 100_000 };

async function measure(
  mode: 'single' | 'batches',
  database: 'postgres' | 'sqlite',
  options: Omit<ServerOptions, 'attempts'>,
  load: PostgresLoad | undefined,
): Promise<Figure[]> {
  const count = streams[mode];
  const server = new Child<ToServer, FromServer>('../rpc/server-process.ts', { ...options, attempts: count });
  try {
    const { address, tokens } = await server.take('ready');
    const before = await server.ask({ kind: 'usage' }, 'usage');
    const database0 = (await load?.cpu()) ?? 0;
    const given: SenderOptions = { address, tokens, mode, milliseconds };
    const sender = new Child<{ kind: 'stop' }, FromSender>('../rpc/sender-process.ts', given);
    const { lines, seconds, usage } = await sender.take('sent');
    await sender.stop({ kind: 'stop' });
    const after = await server.ask({ kind: 'usage' }, 'usage');
    const databaseCpu = ((await load?.cpu()) ?? 0) - database0;
    if (after.entries - before.entries !== lines) {
      throw new Error(`${lines} lines were answered and ${after.entries - before.entries} are stored`);
    }
    const cpu = after.usage.cpu - before.usage.cpu + usage.cpu + databaseCpu;
    const name = `${mode} ${database}`;
    return [
      {
        name,
        value: lines / seconds,
        unit: 'lines/s',
        ...(database === 'postgres' ? { limit: { kind: 'at-least', value: atLeast[mode] } as const } : {}),
      },
      { name: `${name} cpu`, value: (cpu * 1e6) / lines, unit: 'us/line' },
      {
        name: `${name} cpu server`,
        value: ((after.usage.cpu - before.usage.cpu) * 1e6) / lines,
        unit: 'us/line',
      },
      { name: `${name} cpu database`, value: (databaseCpu * 1e6) / lines, unit: 'us/line' },
    ];
  } finally {
    await server.stop({ kind: 'stop' });
  }
}

const figures: Figure[] = [];
const folder = await serviceFolder('bench');
{
  await using postgres = await startPostgres({
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    shared_preload_libraries: 'pg_stat_statements',
    shared_buffers: '256MB',
  });
  const load = await PostgresLoad.open(postgres.url);
  for (const mode of ['single', 'batches'] as const) {
    // A database for each: what the first one leaves has the places that the second one's builds would get.
    await using database = await scratchDatabase(postgres.url);
    figures.push(...(await measure(mode, 'postgres', { databaseUrl: database.url }, load)));
  }
  await load.stop();
}
for (const mode of ['single', 'batches'] as const) {
  figures.push(...(await measure(mode, 'sqlite', { file: join(folder, `${mode}.db`) }, undefined)));
}
await rm(folder, { recursive: true, force: true });
report('rpc', figures);
