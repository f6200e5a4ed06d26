import { unreachable } from '../base/unreachable.ts';
import { CliError } from './cli-error.ts';
import { prompt } from './prompt.ts';
import type { Terminal } from './terminal.ts';

/** The answer; undefined when Ctrl-C was pressed. */
export async function ask(
  terminal: Terminal,
  question: string,
  hidden: boolean,
): Promise<string | undefined> {
  if (terminal.stdin.isTTY !== true)
    throw new CliError('usage', 'There is no terminal to ask on. Give --username NAME and --password-stdin');
  const answer = await prompt(terminal, question, { hidden });
  switch (answer.kind) {
    case 'answer':
      return hidden ? answer.text : answer.text.trim();
    case 'interrupted':
      return undefined;
    case 'closed':
      throw new CliError('usage', 'The input ended before the answer. Nothing was changed');
    default:
      return unreachable(answer);
  }
}

/** Standard input as a whole, less the line end behind it. */
export async function readLine(terminal: Terminal): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of terminal.stdin) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}
