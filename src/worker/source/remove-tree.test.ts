import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removeTree } from './remove-tree.ts';

/** An account without privileges, for when the tests run with them. */
const nobody = 65_534;
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'slipway-remove-'));
});

afterEach(() => rmSync(base, { recursive: true, force: true }));

describe('removeTree', () => {
  it('removes unwritable folders as an account without privileges, and follows no link', () => {
    const tree = join(base, 'tree');
    const kept = join(base, 'kept');
    mkdirSync(kept);
    writeFileSync(join(kept, 'file'), 'alive');
    mkdirSync(join(tree, 'a/b'), { recursive: true });
    writeFileSync(join(tree, 'a/b/file'), 'x');
    writeFileSync(Buffer.concat([Buffer.from(`${tree}/a/b/`), Buffer.from([0xe9])]), 'x');
    symlinkSync(kept, join(tree, 'a/link'));
    const asRoot = process.getuid?.() === 0;
    if (asRoot)
      for (const path of [base, kept, tree, join(tree, 'a'), join(tree, 'a/b')])
        chownSync(path, nobody, nobody);
    chmodSync(join(tree, 'a/b'), 0o555);
    chmodSync(join(tree, 'a'), 0o000);
    const program = `const { removeTree } = await import(${JSON.stringify(new URL('./remove-tree.ts', import.meta.url).href)}); await removeTree(process.argv[1]);`;
    const run = spawnSync(process.execPath, ['--input-type=module', '-e', program, tree], {
      encoding: 'utf8',
      ...(asRoot ? { uid: nobody, gid: nobody } : {}),
    });
    expect([run.status, run.stderr]).toEqual([0, '']);
    expect(existsSync(tree)).toBe(false);
    expect(readFileSync(join(kept, 'file'), 'utf8')).toBe('alive');
  });

  it('takes a folder that is not there', async () => {
    await removeTree(join(base, 'nowhere'));
    expect(existsSync(base)).toBe(true);
  });
});
