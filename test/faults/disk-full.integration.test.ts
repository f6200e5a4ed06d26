import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, rm, rmdir, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { imageDigest } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import {
  askForBuild,
  dockerfile,
  Hold,
  registryOf,
  ticking,
  ticksIn,
  untilNothingLeft,
  upTo,
} from './fault-build.ts';

const run = promisify(execFile);

/** A data folder on a small disk of its own (a file mounted as ext4, which only root can do), which fills up. */
describe.skipIf(process.getuid?.() !== 0)(
  'the disk of the data folder is full (needs root to mount one)',
  () => {
    let folder: string;
    let disk: string;
    let server: SlipwayServer;
    let pid: number;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'slipway-disk-'));
      await chmod(folder, 0o711);
      disk = join(folder, 'disk');
      await mkdir(disk);
      const image = join(folder, 'image');
      await run('truncate', ['-s', '400M', image]);
      await run('mkfs.ext4', ['-q', '-m', '0', image]);
      await run('mount', ['-o', 'loop', image, disk]);
      server = await SlipwayServer.start(['--retry-delay', '0'], { data: join(disk, 'data') });
      pid = server.pid;
    });

    afterEach(async () => {
      await free();
      // Whatever happened, it is the same process, and what it stores is whole.
      expect(server.pid).toBe(pid);
      let health = '';
      await until(
        'the server to be healthy',
        async () => {
          const response = await server.fetch('/health/instance');
          health = await response.text();
          return response.status === 200;
        },
        15,
      ).catch((thrown: unknown) => {
        throw new Error(`${String(thrown)}: ${health}`);
      });
      const database = new DatabaseSync(join(server.data, 'slipway.db'), { readOnly: true });
      expect(database.prepare('PRAGMA integrity_check').all()).toEqual([{ integrity_check: 'ok' }]);
      database.close();
    });

    afterAll(async () => {
      try {
        await server?.dispose();
      } finally {
        await run('umount', [disk]).catch(() => run('umount', ['--lazy', disk]));
        await rmdir(disk);
        await rm(folder, { recursive: true, force: true });
      }
    });

    /** Fills the disk until `left` bytes are free. */
    async function fill(left: number): Promise<void> {
      const filler = await open(join(disk, 'filler'), 'a');
      try {
        const { bavail, bsize } = await statfs(disk);
        await run('fallocate', [
          '-l',
          String(Math.max(bsize, bavail * bsize - left)),
          join(disk, 'filler'),
        ]).catch(() => {});
        if (left > 0) return;
        const block = Buffer.alloc(4096);
        const { size } = await filler.stat();
        for (let at = size; ; at += block.length) await filler.write(block, 0, block.length, at);
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'ENOSPC' });
      } finally {
        await filler.close();
      }
    }

    async function free(): Promise<void> {
      await rm(join(disk, 'filler'), { force: true });
    }

    test('an upload is refused with 507, and the next one is stored', async () => {
      await fill(1024 * 1024);
      const upload = async () => {
        const drop = await server.json<{ url: string }>('POST', '/api/v1/filedrop/', {
          mimeType: 'application/gzip',
        });
        return await fetch(new URL(drop.url, server.url), {
          method: 'PUT',
          body: Buffer.alloc(8 * 1024 * 1024, 7),
          headers: { 'content-type': 'application/gzip' },
        });
      };
      const refused = await upload();
      expect(refused.status).toBe(507);
      expect(await refused.text()).toMatch(/disk of the server is full.*administrator/);
      await free();
      const stored = await upload();
      expect(stored.status, await stored.text()).toBeLessThan(300);
    });

    test('the log of a running build waits for room; no line of it is lost', async () => {
      const noise = '/busybox od -v -An -tx1 -N 30000 /dev/urandom';
      const step = ticking(150, 20).replace('echo "tick', `${noise}; echo "tick`);
      // A step that ended on the full disk could not have its layer written, which is another story.
      const hold = new Hold();
      const build = await askForBuild(server, dockerfile(`${step}; ${hold.command}`));
      const following = build.follow();
      await build.says(/^tick \S+ 10 /);
      await fill(0);
      // No more can be stored: the log stands still although the step goes on.
      const full = await until('the log to stand still', async () => {
        const before = (await build.log()).length;
        await new Promise((resolve) => setTimeout(resolve, 1500));
        return (await build.log()).length === before && before;
      });
      expect((await build.view()).phase).toBe('building');
      const health = await server.fetch('/health/instance');
      expect(health.status).toBe(503);
      expect(await health.text()).toMatch(/disk/);
      await free();
      await hold.release();
      const view = await build.ends();
      expect(view, view.error ?? '').toMatchObject({
        phase: 'complete',
        attempts: [{ outcome: 'complete' }],
      });
      const log = await build.log();
      expect(log.length).toBeGreaterThan(full);
      expect(ticksIn(log).map(({ numbers }) => numbers)).toEqual([upTo(150)]);
      expect(log.filter(({ message }) => /^( [0-9a-f]{2}){16}$/.test(message)).length).toBe(150 * 1875);
      expect(await following).toEqual(log);
      expect(await imageDigest(server, `${build.repository}:latest`)).toBe(view.digest);
      await untilNothingLeft(server.data);
    });

    test('a push that finds no room fails the build with diskfull and what to do', async () => {
      const text = dockerfile(
        ticking(20, 20),
        '/busybox dd if=/dev/urandom of=/big bs=1M count=12 2>/dev/null',
      );
      const build = await askForBuild(server, text);
      await build.says(/^tick/);
      const registry = (await registryOf(server.data)) ?? 0;
      process.kill(registry, 'SIGSTOP');
      try {
        await build.reaches('pushing');
        // Enough for what the server notes down, not for a layer.
        await fill(2 * 1024 * 1024);
      } finally {
        process.kill(registry, 'SIGCONT');
      }
      const view = await build.ends();
      expect(view).toMatchObject({ phase: 'internalerror', error_code: 'diskfull', digest: null });
      // Whichever part of an attempt ran into it, it says so and what to do.
      for (const { error_code, error } of view.attempts) {
        expect(error_code).toBe('diskfull');
        expect(error).toMatch(
          /disk of the build machine is full. Free space|no room is left on its disk. Free some/,
        );
      }
      expect((await build.log()).at(-1)).toMatchObject({ type: 'phase', message: 'internalerror' });
      await untilNothingLeft(server.data);
      await free();
      const again = await askForBuild(server, text);
      const end = await again.ends();
      expect(end, end.error ?? '').toMatchObject({ phase: 'complete' });
      expect(await imageDigest(server, `${again.repository}:latest`)).toBe(end.digest);
    });

    test('a build begun on a full disk says so, and goes on once there is room', async () => {
      const waiting = await askForBuild(server, dockerfile('echo done'));
      await waiting.ends();
      const build = await askForBuild(
        server,
        dockerfile(ticking(20, 10), '/busybox dd if=/dev/zero of=/big bs=1M count=30'),
      );
      await build.says(/^tick/);
      await fill(3 * 1024 * 1024);
      const view = await build.ends();
      expect(view).toMatchObject({ phase: 'internalerror', error_code: 'diskfull' });
      await free();
      expect((await (await askForBuild(server, dockerfile('echo done'))).ends()).phase).toBe('complete');
    });
  },
);
