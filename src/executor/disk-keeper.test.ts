import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { DiskKeeper, type DiskKeeperOptions } from './disk-keeper.ts';

const every = 600_000;
let folder: string;
let clock: ManualClock;
let reports: string[];
let errors: Error[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-keeper-'));
  clock = new ManualClock(0);
  reports = [];
  errors = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function keeper(script: string, idle: DiskKeeperOptions['idle'] = async () => true): DiskKeeper {
  return new DiskKeeper({
    command: ['/bin/sh', '-c', script],
    environment: { PATH: '/usr/bin:/bin', FOLDER: folder },
    idle,
    clock,
    every,
    onReport: (report) => reports.push(report),
    onError: (error) => errors.push(error),
  });
}

async function turn(): Promise<void> {
  const before = reports.length + errors.length;
  await clock.advance(every);
  while (reports.length + errors.length === before) await new Promise((resolve) => setImmediate(resolve));
}

describe('keeping the disk', () => {
  test('cleans at every turn when idle, with nothing but the environment it was given', async () => {
    await using kept = keeper('env | sort | grep -v "^PWD\\|^_\\|^SHLVL\\|^OLDPWD"');
    kept.start();
    await turn();
    await turn();
    expect(reports).toEqual(Array(2).fill(`FOLDER=${folder}\nPATH=/usr/bin:/bin`));
    expect(errors).toEqual([]);
  });

  test('leaves the store alone while there is something to build', async () => {
    const asked: boolean[] = [false, false, true];
    const answers = [...asked];
    await using kept = keeper('echo cleaned', async () => answers.shift() ?? true);
    kept.start();
    while (answers.length > 0) await clock.advance(every);
    while (reports.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(reports).toEqual(['cleaned']);
  });

  test('tells a failure, and goes on', async () => {
    await using kept = keeper('echo the store is broken >&2; exit 3');
    kept.start();
    await turn();
    await turn();
    expect(errors.map(({ message }) => message)).toEqual(
      Array(2).fill(expect.stringMatching(/status 3: the store is broken/)),
    );
    expect(reports).toEqual([]);
  });

  test('ends what is under way when it is stopped', async () => {
    await using kept = keeper('echo $$ >"$FOLDER/pid"; exec sleep 1000');
    kept.start();
    await clock.advance(every);
    let pid = 0;
    while (pid === 0) pid = Number(await readFile(join(folder, 'pid'), 'utf8').catch(() => '0'));
    await kept.stop();
    expect(() => process.kill(pid, 0)).toThrow(expect.objectContaining({ code: 'ESRCH' }));
    expect([reports, errors]).toEqual([[], []]);
  });
});
