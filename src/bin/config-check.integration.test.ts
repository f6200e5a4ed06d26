import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

/** `slipway config check` as a process of its own: its statuses and words are for scripts. */
const run = promisify(execFile);
const main = resolve(import.meta.dirname, 'slipway.ts');
let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-config-'));
  file = join(folder, 'config.yaml');
});
afterEach(async () => await rm(folder, { recursive: true }));

async function check(text: string | undefined, environment: NodeJS.ProcessEnv = {}, ...flags: string[]) {
  if (text !== undefined) await writeFile(file, text);
  const env = { PATH: process.env.PATH, HOME: folder, ...environment };
  return await run(process.execPath, [main, 'config', 'check', file, ...flags], { env }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    (failed: { stdout: string; stderr: string; code: number }) => failed,
  );
}

describe('slipway config check', () => {
  it('ends with 0 for a file in order, and says what is of no effect', async () => {
    const text = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///a.db\nMAIL_SERVER: mail\n';
    expect(await check(text)).toMatchObject({
      code: 0,
      stdout: `No effect in Slipway: MAIL_SERVER.\n${file} is in order.\n`,
      stderr: '',
    });
  });

  it('ends with 1 and every fault with file and line, those of the environment too', async () => {
    const text = 'SERVER_HOSTNAM: ci.example.com\nDB_URI: oracle://kim:hunter2@db/x\n';
    const { code, stdout } = await check(text, { SLIPWAY__LISTEN__PORT: 'http' });
    expect(code).toBe(1);
    expect(stdout.split('\n')).toEqual([
      `${file}:1: SERVER_HOSTNAME is missing; it must be HOST or HOST:PORT, without http:// or https://.`,
      `${file}:1: SERVER_HOSTNAM is not a known key. Did you mean SERVER_HOSTNAME?`,
      `${file}:2: DB_URI names oracle, but Slipway keeps its data in PostgreSQL or SQLite; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.`,
      'environment SLIPWAY__LISTEN__PORT: SLIPWAY.LISTEN.PORT is "http"; it must be a whole number from 0 to 65535.',
      `${file} has 4 faults.`,
      '',
    ]);
  });

  it('prints the same as JSON', async () => {
    const { code, stdout } = await check(
      'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///a.db\nPREFERRED_URL_SCHEME: htps\nTESTING: false\n',
      {},
      '--json',
    );
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      file,
      ok: false,
      faults: [
        {
          code: 'not-allowed',
          path: 'PREFERRED_URL_SCHEME',
          message: 'PREFERRED_URL_SCHEME is "htps"; it must be one of http, https. Did you mean https?',
          value: '"htps"',
          allowed: 'one of http, https',
          nearest: 'https',
          line: 3,
          column: 23,
        },
      ],
      warnings: [],
      ignored: [{ path: 'TESTING', line: 4, column: 10 }],
    });
  });

  it('finds the certificate beside the file', async () => {
    const text = 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///a.db\nPREFERRED_URL_SCHEME: https\n';
    expect((await check(text)).code).toBe(1);
    for (const name of ['ssl.cert', 'ssl.key']) await writeFile(join(folder, name), 'PEM');
    expect((await check(text)).code).toBe(0);
  });

  it('ends with 2 when the file cannot be read', async () => {
    const { code, stdout, stderr } = await check(undefined);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toBe(`slipway: Cannot read the configuration ${file}: it is not there.\n`);
  });
});

describe('slipway serve', () => {
  it('says the same before it does anything, and ends with 1', async () => {
    await writeFile(file, 'SERVER_HOSTNAME: ci.example.com\nDB_URI: sqlite:///a.db\nSUPER_USRES: [kim]\n');
    const env = { PATH: process.env.PATH, HOME: folder };
    const failed = await run(process.execPath, [main, 'serve', '--config', file], { env }).then(
      () => undefined,
      (error: { stderr: string; code: number }) => error,
    );
    expect(failed?.code).toBe(1);
    expect(failed?.stderr).toContain(`${file}:3: SUPER_USRES is not a known key. Did you mean SUPER_USERS?`);
  });
});
