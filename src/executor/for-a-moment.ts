import type { Clock } from '../base/clock.ts';

/** Milliseconds that somebody who asks what runs waits for a look: they ask other executors, too. */
const patience = 2_000;

/** Resolves when the look does, or a moment later. The look, which never rejects, goes on. */
export async function forAMoment(look: Promise<unknown>, clock: Clock): Promise<void> {
  const looked = new AbortController();
  const waited = clock.sleep(patience, looked.signal).catch(() => {});
  await Promise.race([look, waited]);
  looked.abort();
}
