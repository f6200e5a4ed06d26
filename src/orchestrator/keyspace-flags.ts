/**
 * What `notify-keyspace-events` must be so that expired keys are told on `__keyevent@<db>__:expired`, or undefined when
 * it says so already. Only adds: the letters that are there may be another program's.
 *
 * `E` turns on events named after what happened, `x` is the class of expiries, and `A` stands for all classes but `m`
 * and `n`, so it holds `x`.
 */
export function withExpiryEvents(flags: string): string | undefined {
  const events = flags.includes('E') ? '' : 'E';
  const expiries = /[xA]/.test(flags) ? '' : 'x';
  return events === '' && expiries === '' ? undefined : `${flags}${events}${expiries}`;
}
