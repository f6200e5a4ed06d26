import { execFile } from 'node:child_process';
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createRepository, packFolder, uploadFile, waitForEnd } from '../test/harness/build-client.ts';
import { SlipwayServer } from '../test/harness/slipway-server.ts';
import { startRegistry } from '../test/services/docker-registry.ts';
import { ensureAccount } from '../test/services/worker-account.ts';
import { largeContext, tinyContext } from './contexts.ts';
import { median, report } from './report.ts';

/**
 * The same context through Slipway (POST …/build/ to the final phase) and by hand (`buildah build && buildah push` of the
 * same rootless account, to a docker-registry of its own), in turns. Every round has a build argument of its own, so its
 * RUN steps really run; the layers before it are reused by both. Slipway's side is followed as a person follows it, over
 * the event stream of its log, which says nothing while a step computes: a client that asks forty times a second for the
 * phase takes, on two cores, a seventh of the steps' speed, and the other side has no such client.
 */
const rounds = 5;
const run = promisify(execFile);
const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
const root = process.getuid?.() === 0;
const account = root ? ensureAccount() : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
const registry = await startRegistry();
const server = await SlipwayServer.start(['--workers', '1'], { launcher: true });

async function direct(context: string, round: string): Promise<number> {
  const home = join(folder, 'home');
  const image = `${registry.host}/bench/direct:latest`;
  const script = `set -e
cd ${home}
buildah build --quiet --layers --isolation rootless --runtime runc --format docker --build-arg ROUND=${round} -t ${image} ${context}
buildah push --quiet --tls-verify=false ${image}`;
  const command = root
    ? ['setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', 'sh', '-c', script]
    : ['sh', '-c', script];
  const before = performance.now();
  await run(command[0] ?? 'sh', command.slice(1), {
    maxBuffer: 1 << 26,
    env: {
      PATH: process.env.PATH ?? '',
      HOME: home,
      XDG_RUNTIME_DIR: join(folder, 'runtime'),
      TMPDIR: join(folder, 'tmp'),
      STORAGE_DRIVER: 'overlay',
      CONTAINERS_CONF: join(folder, 'containers.conf'),
    },
  });
  return performance.now() - before;
}

async function slipway(repository: string, fileId: string, round: string): Promise<number> {
  const before = performance.now();
  const { id } = await server.json<{ id: string }>('POST', `/api/v1/repository/admin/${repository}/build/`, {
    file_id: fileId,
    build_args: { ROUND: round },
  });
  const stream = await server.fetch(`/api/v1/repository/admin/${repository}/build/${id}/logs/stream`, {
    headers: { accept: 'text/event-stream' },
  });
  await stream.text();
  const end = await waitForEnd(server, `admin/${repository}`, id);
  const took = performance.now() - before;
  if (end.phase !== 'complete')
    throw new Error(`the build ended in ${end.phase}: ${end.error_code} ${end.error}`);
  return took;
}

async function compare(
  name: string,
  fill: (context: string) => Promise<void>,
): Promise<{ ours: number[]; theirs: number[] }> {
  const context = join(folder, name);
  await fill(context);
  const archive = join(folder, `${name}.tar.gz`);
  const fileId = await uploadFile(server, archive, await packFolder(context, 'tar.gz', archive));
  await createRepository(server, 'admin', name);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    // Who goes first changes from round to round; round 0 warms both and is not counted.
    const order = round % 2 === 0 ? ['slipway', 'direct'] : ['direct', 'slipway'];
    for (const who of order) {
      const took =
        who === 'slipway'
          ? await slipway(name, fileId, `${name}-s${round}`)
          : await direct(context, `${name}-d${round}`);
      process.stdout.write(
        `${name} round ${round} ${who.padEnd(8)} ${(took / 1000).toFixed(2)} s${round === 0 ? ' (not counted)' : ''}\n`,
      );
      if (round > 0) (who === 'slipway' ? ours : theirs).push(took);
    }
  }
  return { ours, theirs };
}

try {
  for (const part of ['home', 'runtime', 'tmp']) {
    await mkdir(join(folder, part), { mode: 0o700 });
    await chown(join(folder, part), account.uid, account.gid);
  }
  await chown(folder, account.uid, account.gid);
  // runc, as Slipway uses: crun does not work on hybrid control groups.
  await writeFile(
    join(folder, 'containers.conf'),
    '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n',
  );
  const large = await compare('large', largeContext);
  const tiny = await compare('tiny', tinyContext);
  report('build', [
    { name: 'large_slipway', value: median(large.ours) / 1000, unit: 's' },
    { name: 'large_direct', value: median(large.theirs) / 1000, unit: 's' },
    {
      name: 'large_ratio',
      value: median(large.ours) / median(large.theirs),
      unit: '',
      limit: { kind: 'at-most', value: 1.1 },
    },
    { name: 'tiny_slipway', value: median(tiny.ours) / 1000, unit: 's' },
    { name: 'tiny_direct', value: median(tiny.theirs) / 1000, unit: 's' },
    {
      name: 'tiny_added',
      value: (median(tiny.ours) - median(tiny.theirs)) / 1000,
      unit: 's',
      limit: { kind: 'at-most', value: 1 },
    },
  ]);
} finally {
  await server.dispose();
  await registry[Symbol.asyncDispose]();
  // Layers belong to subordinate ids of the account.
  await rm(folder, { recursive: true, force: true });
}
