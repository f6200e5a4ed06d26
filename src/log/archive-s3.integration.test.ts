import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { CreateBucketCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { expect, it } from 'vitest';
import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { findMoto } from '../../test/services/moto.ts';
import { startS3 } from '../../test/services/s3.ts';
import { systemClock } from '../base/clock.ts';
import { S3BlobStore } from '../blob/s3-blob-store.ts';
import { newBuildId } from '../model/ids.ts';
import { ArchiveKeeper } from './archive-keeper.ts';
import { SqlLogStore } from './sql-log-store.ts';

const moto = await findMoto();

it.skipIf('missing' in moto)(
  `logs in a bucket of a real server${'missing' in moto ? ` (skipped: ${moto.missing})` : ''}`,
  async () => {
    if ('missing' in moto) return;
    await using server = await startS3(moto.python);
    const { accessKey, secretKey } = server.credentials;
    const place = { endpoint: server.url, region: 'us-east-1', bucket: 'logs' };
    const client = new S3Client({
      ...place,
      forcePathStyle: true,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
    await client.send(new CreateBucketCommand({ Bucket: place.bucket }));
    await using blobs = await S3BlobStore.open({
      ...place,
      prefix: 'builds',
      pathStyle: true,
      credentials: server.credentials,
    });
    await using scratch = await scratchMemory();
    await using logs = new SqlLogStore(scratch.database, { archives: blobs });
    await logs.start();
    const errors: unknown[] = [];
    let left = 40;
    const done = Promise.withResolvers<void>();
    await using keeper = new ArchiveKeeper({
      database: scratch.database,
      blobs,
      clock: systemClock,
      onClosed: (wake) => logs.onClosed(wake),
      onError: (error) => errors.push(error),
      onArchived: () => {
        left -= 1;
        if (left === 0) done.resolve();
      },
    });
    keeper.start();
    const expected = new Map<ReturnType<typeof newBuildId>, string>();
    await Promise.all(
      Array.from({ length: left }, async (_, n) => {
        const id = newBuildId();
        // One is long enough for several parts.
        const lines = Array.from({ length: n === 0 ? 20_000 : 20 }, () => randomBytes(20).toString('hex'));
        expected.set(id, `${lines.join('\n')}\n`);
        const run = { text: Buffer.from(lines.join('\n')), count: lines.length, time: 1_700_000_000_000 };
        await logs.append(id, { kind: 'manager' }, [run]);
        await logs.close(id);
      }),
    );
    await done.promise;
    expect(errors).toEqual([]);
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: place.bucket }));
    expect(Contents).toHaveLength(40);
    for (const [id, text] of expected) {
      const parts: Uint8Array[] = [];
      for await (const part of logs.download(id, new AbortController().signal)) parts.push(part);
      expect(Buffer.concat(parts).toString()).toBe(text);
      const lines = text.split('\n');
      const middle = Math.floor(lines.length / 2);
      const page = await logs.read(id, middle, 3);
      expect(page.entries.map(({ message }) => message)).toEqual(lines.slice(middle, middle + 3));
      const Key = Contents.find(({ Key: key = '' }) => key.includes(id))?.Key;
      const object = await client.send(new GetObjectCommand({ Bucket: place.bucket, Key }));
      expect(gunzipSync((await object.Body?.transformToByteArray()) ?? '').toString()).toBe(text);
    }
    client.destroy();
  },
);
