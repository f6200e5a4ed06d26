import { messageOf } from '../../base/coded-error.ts';
import { EngineError } from './engine-error.ts';

/**
 * Waits until `write` settles or `signal` fires, whichever is first: a log that takes no more bytes must not outlast
 * a cancel. Rejects with what `write` rejects with; never because of the signal, which the caller looks at.
 */
export async function writtenOrAborted(write: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) resolve();
  try {
    await Promise.race([write, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** What it means for a build that its events are not taken. */
export function unwritten(thrown: unknown): EngineError {
  return new EngineError(
    'enginefailed',
    `The build was ended because its log could not be written: ${messageOf(thrown)}`,
    thrown,
  );
}
