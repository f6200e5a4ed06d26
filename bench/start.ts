import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRepository, packFolder, uploadFile, waitForEnd } from '../test/harness/build-client.ts';
import { SlipwayServer } from '../test/harness/slipway-server.ts';
import { tinyContext } from './contexts.ts';
import { percentile, report } from './report.ts';

/** How long after POST …/build/ the worker is at the source: POST sent → state `unpacking` entered, 30 builds. */
const rounds = 30;

interface View {
  readonly id: string;
  readonly attempts: readonly { readonly entered: Readonly<Record<string, string>> }[];
}

const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
const server = await SlipwayServer.start(['--workers', '1'], { launcher: true });
try {
  await tinyContext(join(folder, 'context'));
  const archive = join(folder, 'package');
  const fileId = await uploadFile(
    server,
    archive,
    await packFolder(join(folder, 'context'), 'tar.gz', archive),
  );
  await createRepository(server, 'admin', 'start');
  const waits: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const before = Date.now();
    const { id } = await server.json<View>('POST', '/api/v1/repository/admin/start/build/', {
      file_id: fileId,
    });
    const end = (await waitForEnd(server, 'admin/start', id)) as unknown as View & {
      phase: string;
      error: string;
    };
    if (end.phase !== 'complete') throw new Error(`the build ended in ${end.phase}: ${end.error}`);
    const entered = Date.parse(end.attempts[0]?.entered.unpacking ?? '');
    if (Number.isNaN(entered))
      throw new Error(`the view does not say when unpacking began: ${JSON.stringify(end.attempts)}`);
    // The first build also makes the engine's store; it is shown apart.
    if (round === 0) process.stdout.write(`first build: ${entered - before} ms\n`);
    else {
      process.stdout.write(`build ${round}: ${entered - before} ms\n`);
      waits.push(entered - before);
    }
  }
  report('start', [
    {
      name: 'post_to_unpacking_p50',
      value: percentile(waits, 50),
      unit: 'ms',
      limit: { kind: 'at-most', value: 500 },
    },
    { name: 'post_to_unpacking_p90', value: percentile(waits, 90), unit: 'ms' },
    { name: 'post_to_unpacking_max', value: Math.max(...waits), unit: 'ms' },
  ]);
} finally {
  await server.dispose();
  await rm(folder, { recursive: true, force: true });
}
