import type { AttemptId } from '../model/ids.ts';

/** The last sign of life of an attempt, as this process knows it. Milliseconds of this process's steady clock. */
export interface KnownBeat {
  readonly at: number;
  readonly ttl: number;
}

interface Entry {
  at: number;
  ttl: number;
  /** This process heard it, so this process writes it down. */
  own: boolean;
  /** The beat and time to live that were last written, and when. */
  written: { readonly at: number; readonly ttl: number; readonly when: number } | undefined;
  keyed: { readonly at: number; readonly ttl: number; readonly when: number } | undefined;
}

export interface DueBeat extends KnownBeat {
  readonly attemptId: AttemptId;
  /** Its key, whose expiry Redis tells, is to be set again too. */
  readonly key: boolean;
}

/** A beat is written at once after a silence, else this seldom: a sixth of its time to live, and at most 10 s. */
const writtenEvery = { part: 6, most: 10_000 };
/** The key is only there to expire, so it is set less often. */
const keyedEvery = { part: 3, most: 30_000 };
/** What this process wrote comes back to it a little changed, for it goes through another clock. */
const echo = 250;
/** So long an end is remembered, against reports about the time before it that come late. */
const endRemembered = 60_000;

/**
 * What one process knows of attempts' heartbeats: those it heard itself, and those of other managers that it read. The
 * book is what makes a Redis that is empty or away mean nothing: it knows how long ago each attempt gave a sign.
 *
 * An attempt is in it from its first beat until `end`: it was forgotten, or its expiry was told.
 */
export class BeatBook {
  readonly #entries = new Map<AttemptId, Entry>();
  /** When attempts that are not in the book any more ended, oldest first. */
  readonly #ended = new Map<AttemptId, number>();
  #longest = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** The longest time to live so far. */
  get longestTtl(): number {
    return this.#longest;
  }

  /** This process heard the attempt. */
  hear(attemptId: AttemptId, ttl: number, now: number): void {
    this.#longest = Math.max(this.#longest, ttl);
    this.#ended.delete(attemptId);
    const entry = this.#entries.get(attemptId);
    if (entry === undefined) {
      this.#entries.set(attemptId, { at: now, ttl, own: true, written: undefined, keyed: undefined });
      return;
    }
    entry.at = now;
    entry.ttl = ttl;
    entry.own = true;
  }

  /** Another process heard the attempt at `at`. Older than what is known: ignored. */
  learn(attemptId: AttemptId, at: number, ttl: number): void {
    const ended = this.#ended.get(attemptId);
    if (ended !== undefined && at <= ended) return;
    const entry = this.#entries.get(attemptId);
    if (entry !== undefined && at <= entry.at + (entry.own ? echo : 0)) return;
    this.#longest = Math.max(this.#longest, ttl);
    this.#ended.delete(attemptId);
    if (entry === undefined) {
      this.#entries.set(attemptId, { at, ttl, own: false, written: undefined, keyed: undefined });
      return;
    }
    entry.at = at;
    entry.ttl = ttl;
    entry.own = false;
  }

  get(attemptId: AttemptId): KnownBeat | undefined {
    return this.#entries.get(attemptId);
  }

  /** Whether it ended a little while ago and has not beaten since. */
  hasEnded(attemptId: AttemptId): boolean {
    return this.#ended.has(attemptId);
  }

  end(attemptId: AttemptId, now: number): void {
    this.#entries.delete(attemptId);
    this.#ended.delete(attemptId);
    this.#ended.set(attemptId, now);
    for (const [oldest, at] of this.#ended) {
      if (at > now - endRemembered) break;
      this.#ended.delete(oldest);
    }
  }

  /** Those whose time is up; silence before `since` does not count. */
  overdue(now: number, since: number): AttemptId[] {
    const late: AttemptId[] = [];
    for (const [attemptId, { at, ttl }] of this.#entries) {
      if (Math.max(at, since) + ttl <= now) late.push(attemptId);
    }
    return late;
  }

  /** Own beats that are to be written now. What is already over is not written any more. */
  due(now: number): DueBeat[] {
    const due: DueBeat[] = [];
    for (const [attemptId, { at, ttl, own, written, keyed }] of this.#entries) {
      if (!own || at + ttl <= now) continue;
      const key = isDue(keyed, at, ttl, now, keyedEvery);
      if (key || isDue(written, at, ttl, now, writtenEvery)) due.push({ attemptId, at, ttl, key });
    }
    return due;
  }

  /** When the next own beat is to be written, if one waits. */
  nextDue(now: number): number | undefined {
    let next: number | undefined;
    for (const { at, ttl, own, written, keyed } of this.#entries.values()) {
      if (!own || at + ttl <= now) continue;
      for (const [last, rule] of [
        [written, writtenEvery],
        [keyed, keyedEvery],
      ] as const) {
        const when = dueAt(last, at, ttl, rule);
        if (when !== undefined && (next === undefined || when < next)) next = when;
      }
    }
    return next;
  }

  written(beats: readonly DueBeat[], now: number): void {
    for (const { attemptId, at, ttl, key } of beats) {
      const entry = this.#entries.get(attemptId);
      if (entry === undefined) continue;
      entry.written = { at, ttl, when: now };
      if (key) entry.keyed = entry.written;
    }
  }

  /** What was written may be gone: everything heard here is written again. */
  unwritten(attemptId?: AttemptId): void {
    const entries = attemptId === undefined ? this.#entries.values() : [this.#entries.get(attemptId)];
    for (const entry of entries) {
      if (entry === undefined) continue;
      entry.written = undefined;
      entry.keyed = undefined;
    }
  }
}

type Rule = typeof writtenEvery;

function dueAt(last: Entry['written'], at: number, ttl: number, rule: Rule): number | undefined {
  if (last === undefined || last.ttl !== ttl) return at;
  if (last.at >= at) return undefined;
  return last.when + Math.min(ttl / rule.part, rule.most);
}

function isDue(last: Entry['written'], at: number, ttl: number, now: number, rule: Rule): boolean {
  const when = dueAt(last, at, ttl, rule);
  return when !== undefined && when <= now;
}
