import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { completionScript } from './completion.ts';
import { addClientCommands } from './program.ts';
import { type Shell, shells } from './shells.ts';

const run = promisify(execFile);

function script(shell: Shell): string {
  const program = new Command('slipway').version('1');
  addClientCommands(program, new MemoryTerminal().terminal, () => {});
  return completionScript(program, shell);
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-completion-'));
  for (const shell of shells) await writeFile(join(folder, shell), script(shell));
  await writeFile(join(folder, 'a file'), '');
});
afterAll(async () => await rm(folder, { recursive: true }));

/** What bash offers for the last of these words. */
async function complete(...words: string[]): Promise<string[]> {
  const ask = `source ./bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _slipway; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['--norc', '-c', ask, '-', ...words], { cwd: folder });
  return stdout.split('\n').filter((line) => line !== '');
}

describe('completion in bash', () => {
  it('offers commands', async () => {
    expect(await complete('slipway', 'lo')).toEqual(['login', 'logs']);
    expect(await complete('slipway', '')).toEqual(expect.arrayContaining(['build', 'repo', 'completion']));
  });

  it('offers the options of the command that is there', async () => {
    expect(await complete('slipway', 'build', '.', '--t')).toEqual(['--tag', '--target']);
    expect(await complete('slipway', 'builds', '--t')).toEqual([]);
  });

  it('offers subcommands and their options', async () => {
    expect(await complete('slipway', 'repo', 'c')).toEqual(['create']);
    expect(await complete('slipway', 'repo', 'create', '--p')).toEqual(['--public']);
  });

  it('offers the values of an argument', async () => {
    expect(await complete('slipway', 'completion', '')).toEqual(['bash', 'zsh', 'fish', '--help']);
  });

  it('offers files where nothing else fits, in one piece', async () => {
    expect(await complete('slipway', 'build', 'a')).toEqual(['a file']);
  });

  it('is registered for the program', async () => {
    const { stdout } = await run('bash', ['--norc', '-c', 'source ./bash; complete -p slipway'], {
      cwd: folder,
    });
    expect(stdout).toContain('-F _slipway slipway');
  });
});

function isInstalled(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

for (const shell of ['zsh', 'fish'] as const)
  describe.runIf(isInstalled(shell))(`completion in ${shell}`, () => {
    it('has no syntax error', async () => {
      expect((await run(shell, ['-n', join(folder, shell)])).stderr).toBe('');
    });
  });

describe('completion in fish', () => {
  it('has a line for every option of every command', () => {
    const lines = script('fish').split('\n');
    expect(lines).toContain(
      "complete -c slipway -n '__fish_seen_subcommand_from create' -l public -d 'anyone may pull'",
    );
    expect(lines.filter((line) => line !== '' && !/^(#|complete -c slipway .* -d '.*'$)/.test(line))).toEqual(
      [],
    );
  });
});
