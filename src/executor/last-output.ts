/** How much of what a worker wrote itself is kept with its attempt. */
export const outputBytes = 16 * 1024;
const outputLines = 40;

/** Any JWT: whatever a worker says of itself, its tokens are not kept. */
const token = /eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+/g;

/** The last lines of it, as text that can be shown anywhere; undefined when there are none. */
export function lastOutput(written: Buffer): string | undefined {
  const text = printable(written.subarray(-outputBytes).toString('utf8')).trim();
  if (text === '') return undefined;
  return text.split('\n').slice(-outputLines).join('\n').replace(token, '[token]');
}

function printable(text: string): string {
  return text.replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, '').replace(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
}
