/** A process that seals anew and kills itself after a batch. Its argument: JSON of what it needs. */
import { Database, type DatabaseOptions } from './database.ts';
import { sealAnew } from './seal-anew.ts';
import { SecretBox } from './secret-box.ts';

const given = JSON.parse(process.argv[2] ?? '') as {
  readonly options: DatabaseOptions;
  readonly key: string;
  readonly former: string;
  readonly batch: number;
  /** Batches after which it dies. */
  readonly after: number;
};
const database = await Database.open(given.options);
let batches = 0;
await sealAnew({
  database,
  secretBox: new SecretBox({
    key: Buffer.from(given.key, 'hex'),
    former: [Buffer.from(given.former, 'hex')],
  }),
  batch: given.batch,
  onBatch: () => {
    batches += 1;
    if (batches === given.after) process.kill(process.pid, 'SIGKILL');
  },
});
await database.stop();
