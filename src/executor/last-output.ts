import { withoutTokens } from './token-mask.ts';

/** How much of what a worker wrote itself is kept with its attempt. */
export const outputBytes = 16 * 1024;
const outputLines = 40;

/** The last lines of it, as text that can be shown anywhere; undefined when there are none. */
export function lastOutput(written: Buffer): string | undefined {
  const text = printable(written.subarray(-outputBytes).toString('utf8')).trim();
  if (text === '') return undefined;
  return withoutTokens(text.split('\n').slice(-outputLines).join('\n'));
}

function printable(text: string): string {
  return text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
}
