import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import type { HostKey } from '../model/host-key.ts';
import { mostServersPerNamespace } from './host-keys.ts';
import { SqlHostKeys } from './sql-host-keys.ts';

function keyOf(host: string, port = 22): HostKey {
  const type = 'ssh-ed25519';
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  const key = Buffer.concat([length, Buffer.from(type), randomBytes(36)]).toString('base64');
  return { host, port, type, key };
}

/** What a store of host keys must do, on every database. */
export function hostKeysSuite(name: string, openScratch: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let keys: SqlHostKeys;
    const by = { buildId: 'build-1', namespace: 'team' };

    beforeEach(async () => {
      scratch = await openScratch();
      clock = new ManualClock();
      keys = new SqlHostKeys({ database: scratch.database, clock });
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    test('the first key of a server stays, whatever is reported later', async () => {
      const first = keyOf('git.example');
      const firstSeen = clock.now();
      await keys.record([first], by);
      await clock.advance(1000);
      await keys.record([keyOf('git.example')], { buildId: 'build-2', namespace: 'other' });
      expect(await keys.list(10)).toEqual([{ ...first, firstSeen, ...by }]);
      expect(await keys.known(first)).toEqual([first]);
    });

    test('of reports at the same time one counts', async () => {
      const all = Array.from({ length: 8 }, () => keyOf('git.example'));
      await Promise.all(all.map((key) => keys.record([key], by)));
      const [kept, ...more] = await keys.known(undefined);
      expect(more).toEqual([]);
      expect(all).toContainEqual(kept);
    });

    test('every port is a server of its own', async () => {
      const [a, b] = [keyOf('git.example', 22), keyOf('git.example', 2222)];
      await keys.record([a, b], by);
      expect(await keys.known(b)).toEqual([b, a]);
      expect(await keys.forget({ host: 'git.example', port: 22 })).toBe(true);
      expect(await keys.forget({ host: 'git.example', port: 22 })).toBe(false);
      expect(await keys.known(undefined)).toEqual([b]);
    });

    test('what is forgotten may be recorded anew', async () => {
      const [old, later] = [keyOf('git.example'), keyOf('git.example')];
      await keys.record([old], by);
      await keys.forget(old);
      await keys.record([later], by);
      expect(await keys.known(undefined)).toEqual([later]);
    });

    test('a build pack has the key of its own server, however many there are', async () => {
      const own = keyOf('zzz.example');
      for (const namespace of ['a', 'b', 'c'])
        await keys.record(
          Array.from({ length: mostServersPerNamespace }, (_, i) => keyOf(`${namespace}${i}.example`)),
          { ...by, namespace },
        );
      await clock.advance(1);
      await keys.record([own], by);
      const known = await keys.known(own);
      expect(known[0]).toEqual(own);
      expect(known.length).toBeLessThanOrEqual(501);
    });

    test('no namespace fills the table', async () => {
      const many = Array.from({ length: mostServersPerNamespace + 5 }, (_, i) => keyOf(`h${i}.example`));
      await keys.record(many.slice(0, 10), by);
      await keys.record(many.slice(10), by);
      await keys.record([keyOf('more.example')], by);
      expect(await keys.list(1000)).toHaveLength(mostServersPerNamespace);
      await keys.record([keyOf('more.example')], { ...by, namespace: 'other' });
      expect(await keys.list(1000)).toHaveLength(mostServersPerNamespace + 1);
    });

    test('pages follow each other without a gap', async () => {
      const all = [keyOf('a.example', 22), keyOf('a.example', 222), keyOf('b.example'), keyOf('c.example')];
      await keys.record(all, by);
      const first = await keys.list(2);
      const rest = await keys.list(10, first[1]);
      expect([...first, ...rest].map(({ host, port }) => ({ host, port }))).toEqual(
        all.map(({ host, port }) => ({ host, port })),
      );
    });
  });
}
