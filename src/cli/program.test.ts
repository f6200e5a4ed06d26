import { Command, CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { addClientCommands, reportInOneLine } from './program.ts';
import { wholeNumber } from './whole-number.ts';

/** What is said about wrong arguments. */
async function complaintAbout(...words: string[]): Promise<string> {
  let said = '';
  const program = new Command('slipway').exitOverride();
  addClientCommands(program, new MemoryTerminal().terminal, () => {});
  const catchAll = (command: Command): void => {
    command.configureOutput({ writeErr: (text) => (said += text) });
    command.commands.forEach(catchAll);
  };
  reportInOneLine(program);
  catchAll(program);
  await expect(program.parseAsync(words, { from: 'user' })).rejects.toBeInstanceOf(CommanderError);
  return said;
}

describe('wrong arguments', () => {
  it.each([
    [['buidl'], "slipway: unknown command 'buidl' (Did you mean build?) See: slipway --help\n"],
    [
      ['builds', '--jsn'],
      "slipway: unknown option '--jsn' (Did you mean --json?) See: slipway builds --help\n",
    ],
    [['show'], "slipway: missing required argument 'build'. See: slipway show --help\n"],
    [
      ['repo', 'create'],
      "slipway: missing required argument 'namespace/name'. See: slipway repo create --help\n",
    ],
  ])('%j: one line that says what to do', async (words, line) => {
    expect(await complaintAbout(...words)).toBe(line);
  });

  it.each(['0', '101', 'x', '1.5', '-1', ''])('a limit of %j is refused', async (limit) => {
    expect(await complaintAbout('builds', `--limit=${limit}`)).toMatch(/whole number|argument missing/);
  });
});

describe('slipway limits', () => {
  it.each(['0', '0.0001', '1001', '-1', 'x', '1e2', 'Infinity'])(
    'a weight of %j is refused',
    async (weight) => {
      expect(await complaintAbout('limits', 'namespace', 'team', `--weight=${weight}`)).toContain(
        '0.001 to 1000',
      );
    },
  );

  it.each(['0', '-1', 'many', '1.5'])('a limit of %j is refused', async (limit) => {
    expect(await complaintAbout('limits', 'namespace', 'team', `--max-running=${limit}`)).toContain(
      'whole number',
    );
    expect(await complaintAbout('limits', 'repo', 'team/web', `--concurrency=${limit}`)).toContain(
      'whole number',
    );
  });
});

describe('wholeNumber', () => {
  it('reads numbers up to its bounds', () => {
    expect(wholeNumber(0, 65535)('65535')).toBe(65535);
    expect(wholeNumber(0, 65535)('0')).toBe(0);
    expect(() => wholeNumber(0, 65535)('65536')).toThrow();
  });
});
