import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { SystemPackage } from './package-list.ts';
import { ensurePackages, missingPackages } from './packages.ts';
import { SetupError } from './setup-error.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-packages-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const packages: readonly SystemPackage[] = [
  { name: 'first', programs: ['one', 'two'], why: 'is for tests' },
  { name: 'second', programs: ['three'], why: 'is for tests too' },
];

async function program(name: string, mode = 0o755): Promise<void> {
  await writeFile(join(folder, name), '');
  await chmod(join(folder, name), mode);
}

test('a package is missing while one of its programs is', async () => {
  await program('one');
  await program('three');
  expect(missingPackages(packages, folder).map(({ name }) => name)).toEqual(['first']);
  await program('two');
  expect(missingPackages(packages, folder)).toEqual([]);
});

test('a file that cannot be run is no program', async () => {
  await program('one');
  await program('two', 0o644);
  await program('three');
  expect(missingPackages(packages, folder).map(({ name }) => name)).toEqual(['first']);
});

test('an absolute program may be a glob', async () => {
  await program('tool-15');
  const versioned = [{ name: 'tool', programs: [join(folder, 'tool-*')], why: '' }];
  expect(missingPackages(versioned, '/nowhere')).toEqual([]);
  expect(
    missingPackages([{ name: 'tool', programs: [join(folder, 'other-*')], why: '' }], '/nowhere'),
  ).toHaveLength(1);
});

test('who may not install is told the exact command', async () => {
  await program('three');
  const lines: string[] = [];
  const thrown: unknown = await ensurePackages(packages, {
    report: (line) => lines.push(line),
    install: false,
    searchPath: folder,
  }).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(SetupError);
  expect(thrown).toMatchObject({ code: 'packages-missing' });
  expect(String(thrown)).toContain('sudo apt-get install -y --no-install-recommends first');
  expect(String(thrown)).not.toContain('second');
  expect(lines).toEqual([]);
});

test('nothing is said or done when nothing is missing', async () => {
  for (const name of ['one', 'two', 'three']) await program(name);
  const lines: string[] = [];
  await ensurePackages(packages, { report: (line) => lines.push(line), searchPath: folder });
  expect(lines).toEqual([]);
});
