import { Cron } from 'croner';
import { cutText } from '../base/cut-text.ts';
import type { CronEntry } from './trigger-config.ts';

/** More of a trigger are not taken. */
export const mostCronEntries = 20;

/** Numbers, names of months and days, `*`, lists, ranges and steps; nothing that only one program knows. */
const field = /^[0-9A-Za-z*,/-]{1,100}$/;
const names = /\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat)\b/gi;

/**
 * The time of a schedule that comes next after `after`, in milliseconds since 1970; undefined: never, or the schedule is
 * none. Five fields in UTC: minute, hour, day of the month, month, day of the week. When both days are given, either will
 * do, as cron has it.
 */
export function nextTime(schedule: string, after: number): number | undefined {
  if (!isForm(schedule)) return undefined;
  try {
    const cron = new Cron(schedule, { paused: true, timezone: 'UTC', mode: '5-part' });
    return cron.nextRun(new Date(after))?.getTime();
  } catch {
    return undefined;
  }
}

/** When the first of the entries is due after `after`. */
export function nextDue(entries: readonly CronEntry[] | undefined, after: number): number | undefined {
  const times = (entries ?? [])
    .map(({ schedule }) => nextTime(schedule, after))
    .filter((time) => time !== undefined);
  return times.length === 0 ? undefined : Math.min(...times);
}

/** The entries whose time came after `from` and not after `until`, each with the first such time: what was missed is made up for once. */
export function dueEntries(
  entries: readonly CronEntry[] | undefined,
  from: number,
  until: number,
): readonly { readonly entry: CronEntry; readonly at: number }[] {
  return (entries ?? []).flatMap((entry) => {
    const at = nextTime(entry.schedule, from);
    return at === undefined || at > until ? [] : [{ entry, at }];
  });
}

/** What is wrong with entries, for people. */
export function faultsOfCron(entries: readonly CronEntry[], now: number): readonly string[] {
  if (entries.length > mostCronEntries) return [`There are more than ${mostCronEntries} cron entries.`];
  return entries.flatMap(({ schedule }) => {
    if (nextTime(schedule, now) !== undefined) return [];
    const shown = cutText(schedule, 100);
    return [
      `The cron entry "${shown}" never comes due, or is none. Write five fields in UTC (minute, hour, day of the month, month, day of the week), such as "30 2 * * *".`,
    ];
  });
}

function isForm(schedule: string): boolean {
  const fields = schedule.trim().split(/\s+/);
  return (
    fields.length === 5 &&
    fields.every((each) => field.test(each) && !/[A-Za-z]/.test(each.replace(names, '')))
  );
}
