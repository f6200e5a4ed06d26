import { readdir, readFile } from 'node:fs/promises';
import { Client } from 'pg';

/** Clock ticks a second, as /proc counts on Linux. */
const ticks = 100;

/** What a PostgreSQL server on this machine has done so far. */
export class PostgresLoad {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  static async open(url: string): Promise<PostgresLoad> {
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('create extension if not exists pg_stat_statements');
    return new PostgresLoad(client);
  }

  /** Seconds of processor time of all of its processes, those included that are over. */
  async cpu(): Promise<number> {
    const own = Number((await this.#client.query('select pg_backend_pid() as pid')).rows[0]?.pid);
    const [parent] = await stat(own);
    let sum = 0;
    for (const name of await readdir('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid)) continue;
      const [ppid, user, system, ended] = await stat(pid).catch(() => [0, 0, 0, 0] as const);
      if (pid === parent) sum += user + system + ended;
      else if (ppid === parent) sum += user + system;
    }
    return sum / ticks;
  }

  /** Statements carried out, begin and commit included. */
  async statements(): Promise<number> {
    const { rows } = await this.#client.query('select sum(calls)::float8 as calls from pg_stat_statements');
    return Number(rows[0]?.calls ?? 0);
  }

  /** Those that took longest in all since they were counted. */
  async costliest(count: number): Promise<readonly { query: string; calls: number; ms: number }[]> {
    const { rows } = await this.#client.query(
      'select query, calls::float8 as calls, total_exec_time as ms from pg_stat_statements order by total_exec_time desc limit $1',
      [count],
    );
    return rows;
  }

  async stop(): Promise<void> {
    await this.#client.end();
  }
}

/** Parent, and ticks of user, system and ended children. */
async function stat(pid: number): Promise<readonly [number, number, number, number]> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [, parent = 0] = fields;
  return [parent, fields[11] ?? 0, fields[12] ?? 0, (fields[13] ?? 0) + (fields[14] ?? 0)];
}
