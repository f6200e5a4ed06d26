import { copyFile, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type OwnCertificate, ownCertificate } from '../../test/harness/own-certificate.ts';
import { ManualClock } from '../base/clock.ts';
import type { TlsMaterial } from './one-port.ts';
import { TlsFiles } from './tls-files.ts';

let folder: string;
let first: OwnCertificate;
let second: OwnCertificate;
let logged: string[];
let files: TlsFiles;
let renewed: TlsMaterial[];
let clock: ManualClock;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tls-files-'));
  first = await ownCertificate(folder, 'first');
  second = await ownCertificate(folder, 'second');
  // As a mounted secret is: files behind a symbolic link that is replaced.
  await symlink('first.cert', join(folder, 'now.cert'));
  await symlink('first.key', join(folder, 'now.key'));
  clock = new ManualClock(Date.now());
  logged = [];
  renewed = [];
  const log = (_fields: object, text: string) => void logged.push(text);
  files = new TlsFiles({
    certificate: join(folder, 'now.cert'),
    key: join(folder, 'now.key'),
    clock,
    log: { info: log, warn: log, error: log },
    every: 1_000,
  });
});

afterEach(async () => {
  await files.stop();
  await rm(folder, { recursive: true });
});

async function point(kind: 'cert' | 'key', to: string): Promise<void> {
  await unlink(join(folder, `now.${kind}`));
  await symlink(`${to}.${kind}`, join(folder, `now.${kind}`));
}

/** Looks at the files are file operations, so they end a moment after the clock woke them. */
async function looks(count: number): Promise<void> {
  for (let look = 0; look < count; look += 1) {
    while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(1_000);
  }
  while (clock.sleeping === 0) await new Promise((resolve) => setImmediate(resolve));
}

test('unchanged files renew nothing; replaced ones do, once', async () => {
  expect((await files.load()).cert).toBe(first.pem);
  files.watch((material) => void renewed.push(material));
  await looks(3);
  expect(renewed).toEqual([]);
  await point('key', 'second');
  await point('cert', 'second');
  await looks(3);
  expect(renewed.map(({ cert }) => cert)).toEqual([second.pem]);
  expect(logged).toEqual(['another TLS certificate is in use']);
});

test('a key that is there before its certificate is waited for; the former pair stays', async () => {
  await files.load();
  files.watch((material) => void renewed.push(material));
  await point('key', 'second');
  await looks(3);
  expect(renewed).toEqual([]);
  expect(logged).toEqual(['the TLS files changed and cannot be used; the former stay in use']);
  await point('cert', 'second');
  await looks(1);
  expect(renewed.map(({ cert }) => cert)).toEqual([second.pem]);
});

test('what cannot be used is an error of the start', async () => {
  await writeFile(first.key, 'no key');
  await expect(files.load()).rejects.toMatchObject({ code: 'unusable' });
  await copyFile(second.key, first.key);
  await expect(files.load()).rejects.toMatchObject({ code: 'unusable' });
  await rm(first.key);
  await expect(files.load()).rejects.toMatchObject({
    code: 'unreadable',
    message: expect.stringContaining('now.key'),
  });
});
