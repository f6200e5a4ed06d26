import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { boundLog } from './bounded-log.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-log-'));
  file = path.join(folder, 'log');
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

test('a short log, and one that is not there, are left alone', async () => {
  await boundLog(file, 100);
  await writeFile(file, 'short\n');
  await boundLog(file, 100);
  expect(await readFile(file, 'utf8')).toBe('short\n');
});

test('a long one keeps its last whole lines, and the writer goes on behind them', async () => {
  const writer = await open(file, 'a');
  for (let n = 0; n < 100; n += 1) await writer.write(`line ${n}\n`);
  await boundLog(file, 200);
  await writer.write('after\n');
  await writer.close();
  expect(await readFile(file, 'utf8')).toBe(
    `${[94, 95, 96, 97, 98, 99].map((n) => `line ${n}\n`).join('')}after\n`,
  );
});
