import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { askForBuild, dockerfile, ticking, ticksIn, untilNothingLeft, upTo } from './fault-build.ts';

const run = promisify(execFile);

/** Who a server runs as, and what that account can reach. */
describe.skipIf(process.getuid?.() !== 0)('accounts (needs root to change them)', () => {
  const name = `slipway-user-${process.pid}`;
  let account: { uid: number; gid: number };

  beforeAll(async () => {
    await run('useradd', [
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      name,
    ]);
    const [uid, gid] = ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, name])));
    account = { uid: uid ?? 0, gid: gid ?? 0 };
  });

  afterAll(() => {
    // Its group and its subordinate ids go with it.
    expect(spawnSync('userdel', [name]).status).toBe(0);
  });

  test('an ordinary user is told what to run, runs it, and builds', async () => {
    const refused: unknown = await SlipwayServer.start([], { account }).catch((thrown: unknown) => thrown);
    expect(String(refused)).toMatch(/exit 1/);
    const command = /sudo (usermod --add-subuids \d+-\d+ --add-subgids \d+-\d+ \S+)/.exec(
      String(refused),
    )?.[1];
    expect(command).toContain(name);
    const [program = '', ...args] = (command ?? '').split(' ');
    await run(program, args);
    const server = await SlipwayServer.start([], { account });
    try {
      const build = await askForBuild(server, dockerfile(ticking(20, 10), '/busybox id -u'));
      const view = await build.ends();
      expect(view, view.error ?? '').toMatchObject({ phase: 'complete' });
      const log = await build.log();
      expect(ticksIn(log).map(({ numbers }) => numbers)).toEqual([upTo(20)]);
      expect(log.map(({ message }) => message)).toContain('0');
      expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
      await untilNothingLeft(server.data);
    } finally {
      await server.dispose();
    }
  });

  test('a data folder that the workers’ account cannot get to is refused at the start', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'slipway-closed-'));
    try {
      await chmod(closed, 0o700);
      const data = join(closed, 'data');
      const refused: unknown = await SlipwayServer.start([], { data }).catch((thrown: unknown) => thrown);
      expect(String(refused)).toMatch(/exit 1/);
      expect(String(refused)).toContain(`cannot pass through ${closed}. Let it: chmod o+x ${closed}`);
      await run('chmod', ['o+x', closed]);
      const server = await SlipwayServer.start([], { data });
      try {
        expect((await (await askForBuild(server, dockerfile('echo done'))).ends()).phase).toBe('complete');
      } finally {
        await server.dispose();
      }
    } finally {
      await rm(closed, { recursive: true, force: true });
    }
  });
});
