import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

export interface ManagerLives {
  /** Of this life; no other one ever has it. */
  readonly name: string;
  /** Lives that used this data folder before. Only one at a time does, so all of them are over. */
  readonly former: readonly string[];
}

const remembered = 50;

/** Begins a new life of the manager of a data folder. */
export async function beginLife(runFolder: string): Promise<ManagerLives> {
  const file = join(runFolder, 'manager-lives');
  const before = (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
  const name = `${hostname()}-${randomUUID()}`;
  await writeFile(file, `${[...before, name].slice(-remembered).join('\n')}\n`, { mode: 0o600 });
  return { name, former: before };
}
