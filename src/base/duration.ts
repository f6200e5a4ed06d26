const units: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 24 * 3_600_000,
  w: 7 * 24 * 3_600_000,
};

/** `90s`, `30m`, `720h`, `30d`, `4w`, or several, the largest first: `1h30m`. Milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d{1,9}w)?(?:\d{1,9}d)?(?:\d{1,9}h)?(?:\d{1,9}m)?(?:\d{1,9}s)?$/.test(text) || text === '')
    return undefined;
  let sum = 0;
  for (const [, count, unit = ''] of text.matchAll(/(\d+)([a-z])/g))
    sum += Number(count) * (units[unit] ?? 0);
  return sum;
}
