import { expect, test } from 'vitest';
import { newAttemptId, newBuildId } from '../model/ids.ts';
import type { Orchestrator, OrchestratorEvent } from './orchestrator.ts';

/** One orchestrator under test. `advance` lets that many milliseconds pass for it. */
export interface OrchestratorSubject extends AsyncDisposable {
  readonly orchestrator: Orchestrator;
  now(): number;
  advance(milliseconds: number): Promise<void>;
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
    await orchestrator.beat(attempt, 60_000);
    const first = subject.now();
    expect(await orchestrator.lastBeat(attempt)).toBe(first);
    await subject.advance(1000);
    await orchestrator.beat(attempt, 60_000);
    expect(await orchestrator.lastBeat(attempt)).toBe(first + 1000);
  });

  test('tells every listener once when no beat came in time', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const first: OrchestratorEvent[] = [];
    const second: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => first.push(event));
    orchestrator.subscribe((event) => second.push(event));
    await orchestrator.beat(attempt, 500);
    await subject.advance(300);
    await orchestrator.beat(attempt, 500);
    await subject.advance(300);
    expect(first).toEqual([]);
    await subject.advance(1000);
    expect(first).toEqual([{ kind: 'expired', attemptId: attempt }]);
    expect(second).toEqual(first);
  });

  test('an expired attempt is tracked again by its next beat', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(attempt, 100);
    await subject.advance(1000);
    await orchestrator.beat(attempt, 100);
    expect(await orchestrator.lastBeat(attempt)).toBe(subject.now());
    await subject.advance(1000);
    expect(events).toHaveLength(2);
  });

  test('a shorter time to live holds from the beat that gives it', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const attempt = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(attempt, 60_000);
    await orchestrator.beat(attempt, 100);
    await subject.advance(1000);
    expect(events).toEqual([{ kind: 'expired', attemptId: attempt }]);
  });

  test('a forgotten attempt does not expire, and others do', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const forgotten = newAttemptId();
    const other = newAttemptId();
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(forgotten, 100);
    await orchestrator.beat(other, 100);
    await orchestrator.forget(forgotten);
    await orchestrator.forget(newAttemptId());
    await subject.advance(1000);
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
    await subject.advance(10);
    expect(heard).toEqual(events);
    expect(stopped).toEqual([]);
  });

  test('closing ends everything, and may be done twice', async () => {
    await using subject = await open();
    const { orchestrator } = subject;
    const events: OrchestratorEvent[] = [];
    orchestrator.subscribe((event) => events.push(event));
    await orchestrator.beat(newAttemptId(), 100);
    await orchestrator.close();
    await orchestrator.close();
    await subject.advance(1000);
    expect(events).toEqual([]);
    await subject.assertNothingLeft();
  });
}
