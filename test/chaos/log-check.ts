import type { LogEntry } from '../../src/log/log-store.ts';
import { isFinal, type Phase } from '../../src/model/phase.ts';
import { attemptMark } from './attempt-engine.ts';
import { lateWords } from './wiretap.ts';
import type { Work } from './work.ts';

/** What is known of one attempt when its log is looked through. */
export interface LoggedAttempt {
  readonly id: string;
  readonly epoch: number;
  readonly complete: boolean;
  /** It began to push, so all that it said while it built was stored before. */
  readonly pushed: boolean;
  /** Numbered lines that a manager acknowledged. */
  readonly acknowledged: number;
}

export interface LogToCheck {
  readonly entries: readonly LogEntry[];
  readonly closed: boolean;
  readonly phase: string;
  readonly attempts: readonly LoggedAttempt[];
  readonly work: Work;
  readonly secret?: string;
}

/** A signed token, of whatever kind. */
export const anyToken = /eyJ[\w-]{10,}\.eyJ[\w-]{20,}\.[\w-]{20,}/;

const order = ['waiting', 'build-scheduled', 'unpacking', 'pulling', 'building', 'pushing'];

/**
 * What is wrong with the log of a build that is over (I3): it is closed, its last entry is the final phase and that
 * stands nowhere else; phases are in order within an attempt; every attempt's lines are an unbroken begin of what it
 * had to say, in order, none twice, and no shorter than what was acknowledged.
 */
export function faultsOfLog(log: LogToCheck): string[] {
  const faults: string[] = [];
  const { entries } = log;
  if (!log.closed) faults.push('the log is not closed');
  const last = entries.at(-1);
  if (last?.type !== 'phase' || last.message !== log.phase)
    faults.push(`the last entry is ${JSON.stringify(last)} and not the phase ${log.phase}`);
  faults.push(...faultsOfPhases(entries));

  const said = new Map<string, string[]>();
  let lines: string[] | undefined;
  for (const [at, { message, type }] of entries.entries()) {
    if (message.includes(lateWords)) faults.push(`entry ${at} came after the end of its attempt: ${message}`);
    if (log.secret !== undefined && message.includes(log.secret)) faults.push(`entry ${at} shows a secret`);
    if (anyToken.test(message)) faults.push(`entry ${at} shows a token`);
    if (message.startsWith(attemptMark)) {
      const attempt = message.slice(attemptMark.length);
      if (said.has(attempt)) faults.push(`entry ${at}: attempt ${attempt} begins a second time`);
      lines = [];
      said.set(attempt, lines);
    } else if (type !== 'phase' && /^[LP] \d+$/.test(message)) {
      if (lines === undefined) faults.push(`entry ${at}, ${message}, comes before any attempt`);
      else lines.push(message);
    }
  }
  const whole = [...log.work.building, ...log.work.pushing];
  let epoch = 0;
  for (const id of said.keys()) {
    const attempt = log.attempts.find((one) => one.id === id);
    if (attempt === undefined) faults.push(`the log has lines of ${id}, which is no attempt of the build`);
    else if (attempt.epoch < epoch) faults.push(`epoch ${attempt.epoch} comes after epoch ${epoch}`);
    epoch = attempt?.epoch ?? epoch;
  }
  for (const attempt of log.attempts) {
    const got = said.get(attempt.id) ?? [];
    const name = `epoch ${attempt.epoch}`;
    const wrong = got.findIndex((line, at) => line !== whole[at]);
    if (wrong >= 0) faults.push(`${name}: line ${wrong} is ${got[wrong]} and not ${whole[wrong]}`);
    if (got.length < attempt.acknowledged)
      faults.push(`${name}: ${attempt.acknowledged} lines were acknowledged, ${got.length} are there`);
    if (attempt.pushed && got.length < log.work.building.length)
      faults.push(`${name} was pushed after ${log.work.building.length} lines, ${got.length} are there`);
    if (attempt.complete && got.length !== whole.length)
      faults.push(`${name} is complete and said ${whole.length} lines, ${got.length} are there`);
  }
  return faults;
}

function faultsOfPhases(entries: readonly LogEntry[]): string[] {
  const faults: string[] = [];
  let rank = -1;
  let epoch = 0;
  for (const [at, { message, type, data }] of entries.entries()) {
    if (type !== 'phase') continue;
    if (isFinal(message as Phase)) {
      if (at !== entries.length - 1) faults.push(`entry ${at}, the final phase ${message}, is not the last`);
      continue;
    }
    const next = order.indexOf(message);
    if (next < 0) faults.push(`entry ${at} is the unknown phase ${message}`);
    if (message === 'build-scheduled') {
      const begun = Number(data?.epoch);
      if (!(begun > epoch)) faults.push(`entry ${at}: epoch ${begun} is registered after epoch ${epoch}`);
      epoch = begun;
    } else if (next <= rank) {
      faults.push(`entry ${at}: ${message} comes after ${order[rank]} of the same attempt`);
    }
    rank = next;
  }
  return faults;
}
