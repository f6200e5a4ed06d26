/**
 * What `notify-keyspace-events` must be so that expired keys are told on `__keyspace@<db>__:<key>`, or undefined when it
 * says so already. Only adds: the letters that are there may be another program's.
 *
 * `K` turns on channels named after keys, `x` is the class of expiries, and `A` stands for all classes but `m` and `n`,
 * so it holds `x`.
 */
export function withExpiryEvents(flags: string): string | undefined {
  const channels = flags.includes('K') ? '' : 'K';
  const expiries = /[xA]/.test(flags) ? '' : 'x';
  return channels === '' && expiries === '' ? undefined : `${flags}${channels}${expiries}`;
}
