import { expect, test } from 'vitest';
import { newAttemptId, newBuildId } from '../model/ids.ts';
import type { Orchestrator, OrchestratorEvent } from './orchestrator.ts';

/** One orchestrator under test. Times are those of its own clock, which may be the wall's. */
export interface OrchestratorSubject extends AsyncDisposable {
  readonly orchestrator: Orchestrator;
  now(): number;
  /** Lets that many milliseconds pass for it. */
  advance(milliseconds: number): Promise<void>;
  /** All times of the suite are multiplied by it: the busier a real server may be, the more. */
  readonly scale: number;
  /** How far, in milliseconds, the time of a beat may be off. */
  readonly precision: number;
  /** Throws when closing left anything behind: timers, keys, connections. */
  assertNothingLeft(): Promise<void>;
}

/** What every orchestrator does, whatever keeps its state. */
export function orchestratorSuite(open: () => Promise<OrchestratorSubject>): void {
  test('remembers the last beat', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    expect(await orchestrator.lastBeat(attempt)).toBeUndefined();
    const first = subject.now();
    await orchestrator.beat(attempt, 60_000);
    expect((await orchestrator.lastBeat(attempt)) ?? 0).toBeGreaterThanOrEqual(first - subject.precision);
    await subject.advance(400 * subject.scale);
    expect((await orchestrator.lastBeat(attempt)) ?? 0).toBeLessThanOrEqual(
      subject.now() - 400 * subject.scale + subject.precision,
    );
    const second = subject.now();
    await orchestrator.beat(attempt, 60_000);
    expect((await orchestrator.lastBeat(attempt)) ?? 0).toBeGreaterThanOrEqual(second - subject.precision);
    expect((await orchestrator.lastBeat(attempt)) ?? 0).toBeLessThanOrEqual(
      subject.now() + subject.precision,
    );
  });

  test('tells every listener once when no beat came in time', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const first: OrchestratorEvent[] = [];
    const second: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => first.push(event));
    orchestrator.subscribe((event) => second.push(event));
    await orchestrator.beat(attempt, 500 * subject.scale);
    await subject.advance(300 * subject.scale);
    await orchestrator.beat(attempt, 500 * subject.scale);
    await subject.advance(300 * subject.scale);
    expect(first).toEqual([]);
    await subject.advance(600 * subject.scale);
    expect(first).toEqual([{ kind: 'expired', attemptId: attempt }]);
    expect(second).toEqual(first);
  });

  test('an expired attempt is tracked again by its next beat', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(attempt, 100 * subject.scale);
    await subject.advance(600 * subject.scale);
    await orchestrator.beat(attempt, 100 * subject.scale);
    expect((await orchestrator.lastBeat(attempt)) ?? 0).toBeGreaterThanOrEqual(
      subject.now() - subject.precision - 100 * subject.scale,
    );
    await subject.advance(600 * subject.scale);
    expect(events).toHaveLength(2);
  });

  test('a shorter time to live holds from the beat that gives it', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(attempt, 60_000);
    await orchestrator.beat(attempt, 100 * subject.scale);
    await subject.advance(600 * subject.scale);
    expect(events).toEqual([{ kind: 'expired', attemptId: attempt }]);
  });

  test('a forgotten attempt does not expire, and others do', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const forgotten = newAttemptId();
    const other = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(forgotten, 100 * subject.scale);
    await orchestrator.beat(other, 100 * subject.scale);
    await orchestrator.forget(forgotten);
    await orchestrator.forget(newAttemptId());
    await subject.advance(600 * subject.scale);
    expect(events).toEqual([{ kind: 'expired', attemptId: other }]);
    expect(await orchestrator.lastBeat(forgotten)).toBeUndefined();
  });

  test('carries events to those who listen, in order, and not to those who stopped', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const heard: OrchestratorEvent[] = [];
    const stopped: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => heard.push(event));
    const stop = orchestrator.subscribe((event) => stopped.push(event));
    stop();
    stop();
    const events: OrchestratorEvent[] = [
      { kind: 'cancel', attemptId: newAttemptId() },
      { kind: 'log', buildId: newBuildId() },
      { kind: 'cancel', attemptId: newAttemptId() },
    ];
    for (const event of events) await orchestrator.publish(event);
    await subject.advance(10 * subject.scale);
    expect(heard).toEqual(events);
    expect(stopped).toEqual([]);
  });

  test('many attempts expire each by its own time to live', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const expired: string[] = [];
    orchestrator.subscribe((event) => {
      if (event.kind === 'expired') expired.push(event.attemptId);
    });
    const short = Array.from({ length: 50 }, newAttemptId);
    const long = Array.from({ length: 50 }, newAttemptId);
    for (const attempt of long) await orchestrator.beat(attempt, 60_000);
    for (const attempt of short) await orchestrator.beat(attempt, 100 * subject.scale);
    await subject.advance(600 * subject.scale);
    expect(expired.toSorted()).toEqual(short.toSorted());
    for (const attempt of long) await orchestrator.forget(attempt);
  });

  test('one listener more does not hear what was before it, and none hears after closing', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const early = { kind: 'cancel', attemptId: newAttemptId() } as const;
    const late = { kind: 'cancel', attemptId: newAttemptId() } as const;
    const heard: OrchestratorEvent[] = [];
    await orchestrator.publish(early);
    orchestrator.subscribe((event) => heard.push(event));
    await orchestrator.publish(late);
    await orchestrator.close();
    await orchestrator.publish(early);
    await orchestrator.beat(early.attemptId, 100 * subject.scale);
    await orchestrator.forget(early.attemptId);
    expect(await orchestrator.lastBeat(late.attemptId)).toBeUndefined();
    expect(heard).toEqual([late]);
  });

  test('closing ends everything, and may be done twice', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(newAttemptId(), 100 * subject.scale);
    await orchestrator.close();
    await orchestrator.close();
    await subject.advance(600 * subject.scale);
    expect(events).toEqual([]);
    await subject.assertNothingLeft();
  });
}
