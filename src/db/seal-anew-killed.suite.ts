import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { OpenScratch } from '../../test/harness/scratch-database.ts';
import type { BuildId } from '../model/ids.ts';
import { request } from '../queue/build-queue.suite.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { sealAnew } from './seal-anew.ts';
import { SecretBox } from './secret-box.ts';

const program = fileURLToPath(new URL('./seal-anew.suite-process.ts', import.meta.url));

/** `open` gives a database that another process can open. */
export function sealAnewKilledSuite(name: string, open: OpenScratch): void {
  describe(`sealing anew on ${name}, killed`, () => {
    it('loses nothing after any batch, and ends well when it is run again', async () => {
      await using scratch = await open();
      const { database, options } = scratch;
      const [former, key] = [randomBytes(32), randomBytes(32)];
      const batch = 2;
      const builds = 8;
      await using queue = new SqlBuildQueue(database, { secretBox: new SecretBox({ key: former }) });
      const ids: BuildId[] = [];
      for (let at = 0; at < builds; at += 1)
        ids.push(
          (await queue.enqueue(request(), { secrets: [{ id: 's', value: Buffer.from(`v${at}`) }] })).id,
        );
      const valuesWith = async (secretBox: SecretBox) => {
        await using reader = new SqlBuildQueue(database, { secretBox });
        const all = await Promise.all(ids.map((id) => reader.secrets(id)));
        return all.map(([secret]) => Buffer.from(secret?.value ?? []).toString());
      };
      const expected = ids.map((_, at) => `v${at}`);
      const both = new SecretBox({ key, former: [former] });
      for (let after = 1; after <= builds / batch; after += 1) {
        const given = { options, key: key.toString('hex'), former: former.toString('hex'), batch, after };
        const { signal, stderr } = spawnSync(
          process.execPath,
          ['--disable-warning=ExperimentalWarning', program, JSON.stringify(given)],
          { encoding: 'utf8' },
        );
        expect(signal, stderr).toBe('SIGKILL');
        expect(await valuesWith(both)).toEqual(expected);
        const { counts } = await sealAnew({ database, secretBox: both, dryRun: true });
        expect(counts[0]).toMatchObject({
          current: after * batch,
          former: builds - after * batch,
          locked: 0,
        });
      }
      const { counts, locked } = await sealAnew({ database, secretBox: both });
      expect(locked).toEqual([]);
      expect(counts[0]).toMatchObject({ current: builds, anew: 0, former: 0 });
      expect(await valuesWith(new SecretBox({ key }))).toEqual(expected);
    });
  });
}
