import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dueEntries, faultsOfCron, nextDue, nextTime } from './cron-schedule.ts';

const at = (text: string) => Date.parse(text);

describe('cron schedules', () => {
  it.each([
    ['30 2 * * *', '2026-03-28T23:00:00Z', '2026-03-29T02:30:00Z'],
    ['*/15 * * * *', '2026-01-01T00:07:00Z', '2026-01-01T00:15:00Z'],
    ['0 0 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T00:00:00Z'],
    ['0 12 * * mon-fri', '2026-01-02T12:00:00Z', '2026-01-05T12:00:00Z'],
    ['0 0 1 jan *', '2026-01-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    // Either day will do, as cron has it.
    ['0 0 13 * 5', '2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'],
    ['0 0 * * 7', '2026-01-01T00:00:00Z', '2026-01-04T00:00:00Z'],
  ])('%s after %s', (schedule, after, expected) => {
    expect(nextTime(schedule, at(after))).toBe(at(expected));
  });

  it.each([
    '',
    '* * * *',
    '* * * * * *',
    '61 * * * *',
    '0 0 31 2 *',
    '@daily',
    '0 0 L * *',
    '0 0 * * 5#2',
    'a b c d e',
    '0 0 ? * *',
    '*/0 * * * *',
    '1-0 * * * *',
  ])('%j never comes due, and it is told', (schedule) => {
    expect(nextTime(schedule, at('2026-01-01T00:00:00Z'))).toBeUndefined();
    expect(faultsOfCron([{ schedule }], at('2026-01-01T00:00:00Z'))).toHaveLength(1);
  });

  it('knows the first that is due, and all that came due in a time', () => {
    const entries = [
      { schedule: '0 3 * * *' },
      { schedule: '0 1 * * *', branch: 'dev' },
      { schedule: 'nonsense' },
    ];
    const midnight = at('2026-01-01T00:00:00Z');
    expect(nextDue(entries, midnight)).toBe(at('2026-01-01T01:00:00Z'));
    expect(nextDue([], midnight)).toBeUndefined();
    expect(dueEntries(entries, midnight, at('2026-01-01T02:00:00Z'))).toEqual([
      { entry: entries[1], at: at('2026-01-01T01:00:00Z') },
    ]);
  });

  it('is always later, at a whole minute, for any text', () => {
    const field = fc.oneof(
      fc.constant('*'),
      fc.integer({ min: 0, max: 60 }).map(String),
      fc.integer({ min: 1, max: 40 }).map((n) => `*/${n}`),
      fc.string({ maxLength: 4 }),
    );
    fc.assert(
      fc.property(
        fc.array(field, { minLength: 4, maxLength: 6 }),
        fc.integer({ min: 0, max: 4e12 }),
        (fields, after) => {
          const next = nextTime(fields.join(' '), after);
          if (next === undefined) return;
          expect(next).toBeGreaterThan(after);
          expect(next % 60_000).toBe(0);
        },
      ),
    );
  });
});
