import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { OpenScratch, ScratchDatabase } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { newAttemptId } from '../model/ids.ts';
import type { FleetReport } from './executor-report.ts';
import { ExecutorReports } from './executor-reports.ts';
import { ExecutorSwitches } from './executor-switches.ts';
import { Fleet } from './fleet.ts';
import { FleetReporter } from './fleet-reporter.ts';
import { WorkerTrials } from './worker-trials.ts';

type Executor = FleetReport['executors'][number];

const executor = (name: string, changes: Partial<Executor> = {}): Executor => ({
  name,
  type: 'local',
  rules: { minimumRetryThreshold: 0, cordoned: false },
  breaker: { kind: 'closed' },
  failures: [],
  ...changes,
});
const report = (...executors: Executor[]): FleetReport => ({ executors, alerts: [] });

export function fleetSuite(name: string, open: OpenScratch): void {
  describe(name, () => {
    let scratch: ScratchDatabase;
    let clock: ManualClock;
    let reports: ExecutorReports;
    let fleet: Fleet;
    let workers: { executor: string; count: number }[];

    beforeEach(async () => {
      scratch = await open();
      clock = new ManualClock();
      workers = [];
      reports = new ExecutorReports({ database: scratch.database, clock });
      fleet = another();
    });
    afterEach(async () => await scratch[Symbol.asyncDispose]());

    /** As another server has it. */
    const another = () =>
      new Fleet({
        switches: new ExecutorSwitches({ database: scratch.database, clock }),
        reports: new ExecutorReports({ database: scratch.database, clock }),
        survey: async () => ({ workers }),
      });
    const join = async (manager: string, told: FleetReport) => {
      await scratch.database.sql
        .insertInto('managers')
        .values({ name: manager, beats: 1, joined_at: clock.now() })
        .execute();
      await reports.write(manager, told);
    };
    const leave = async (manager: string) =>
      await scratch.database.sql.deleteFrom('managers').where('name', '=', manager).execute();
    const stateOf = async (of: string, by = fleet) =>
      (await by.view()).executors.find((each) => each.name === of)?.state;

    test('an executor that is cordoned on one server is so on all, until it is uncordoned', async () => {
      await join('m1', report(executor('a'), executor('b')));
      expect(await fleet.cordon('a', 'cordoned', 'kim')).toMatchObject({
        state: 'cordoned',
        changed: { at: clock.now(), by: 'kim' },
      });
      expect(await stateOf('a', another())).toBe('cordoned');
      expect(await stateOf('b', another())).toBe('ready');
      expect(await new ExecutorSwitches({ database: scratch.database, clock }).names()).toEqual(
        new Set(['a']),
      );
      expect(await another().uncordon('a')).toMatchObject({ state: 'ready' });
      expect(await stateOf('a')).toBe('ready');
    });

    test('draining is over when no worker is left, neither in the queue nor in the executor', async () => {
      await join('m1', report(executor('a', { running: 1 })));
      workers = [{ executor: 'a', count: 2 }];
      expect(await fleet.cordon('a', 'draining', 'kim')).toMatchObject({ state: 'draining', running: 2 });
      workers = [];
      expect(await stateOf('a')).toBe('draining');
      await reports.write('m1', report(executor('a', { running: 0 })));
      expect(await stateOf('a')).toBe('drained');
    });

    test('what the configuration cordons nobody uncordons', async () => {
      await join('m1', report(executor('a', { rules: { minimumRetryThreshold: 0, cordoned: true } })));
      expect(await stateOf('a')).toBe('cordoned');
      await expect(fleet.uncordon('a')).rejects.toMatchObject({ code: 'configured' });
    });

    test('there is no executor that no living manager has', async () => {
      await join('m1', report(executor('a')));
      const { signal } = new AbortController();
      await expect(fleet.cordon('b', 'cordoned', 'kim')).rejects.toMatchObject({ code: 'unknown-executor' });
      await expect(fleet.uncordon('b')).rejects.toMatchObject({ code: 'unknown-executor' });
      await expect(fleet.trial('b', signal)).rejects.toMatchObject({ code: 'unknown-executor' });
      await expect(fleet.trial('a', signal)).rejects.toMatchObject({ code: 'elsewhere' });
      await leave('m1');
      expect(await fleet.view()).toEqual({ executors: [], alerts: [] });
    });

    test('puts together what the managers say, and forgets those that are gone', async () => {
      const failure = (at: number) => ({ at, code: 'unavailable', message: `at ${at}` });
      const open = { kind: 'open', since: 5, until: 90 } as const;
      const alert = { since: 7, message: 'all of them', executors: ['a'] };
      await join(
        'm1',
        report(executor('a', { failures: [failure(3), failure(1)], lastStart: 4, maxWorkers: 9 })),
      );
      await join('m2', {
        executors: [executor('a', { failures: [failure(2)], breaker: open }), executor('b')],
        alerts: [alert],
      });
      const view = await fleet.view();
      expect(view.executors).toMatchObject([
        {
          name: 'a',
          maxWorkers: 9,
          lastStart: 4,
          breaker: open,
          failures: [
            { at: 3, manager: 'm1' },
            { at: 2, manager: 'm2' },
            { at: 1, manager: 'm1' },
          ],
          managers: ['m1', 'm2'],
        },
        { name: 'b', managers: ['m2'] },
      ]);
      expect(view.alerts).toEqual([{ manager: 'm2', ...alert }]);
      expect(await fleet.alerts()).toEqual(view.alerts);
      await leave('m2');
      expect(await fleet.view()).toMatchObject({
        executors: [{ name: 'a', breaker: { kind: 'closed' } }],
        alerts: [],
      });
      await reports.write('m1', report(executor('a')));
      const rows = await scratch.database.sql.selectFrom('executor_reports').select('manager').execute();
      expect(rows).toEqual([{ manager: 'm1' }]);
    });

    test('a report of another version is passed over', async () => {
      await join('m1', report(executor('a')));
      await scratch.database.sql
        .updateTable('executor_reports')
        .set({ report_json: '{"other":1}' })
        .execute();
      expect(await fleet.view()).toEqual({ executors: [], alerts: [] });
    });

    test('a manager writes at once what changed, and takes it away when it stops', async () => {
      await join('m1', report());
      let told = report(executor('a'));
      const reporter = new FleetReporter({
        manager: 'm1',
        reports,
        collect: async () => told,
        clock,
        onError: (error) => {
          throw error;
        },
      });
      reporter.start();
      await expect.poll(() => stateOf('a')).toBe('ready');
      told = report(executor('b'));
      reporter.changed();
      await expect.poll(() => stateOf('b')).toBe('ready');
      await reporter.stop();
      expect(await reports.living()).toEqual([]);
    });

    test('a worker on trial registers with any server, as long as its trial runs', async () => {
      const trials = () => new WorkerTrials({ database: scratch.database, clock });
      const attemptId = newAttemptId();
      expect(await trials().register(attemptId)).toBe(false);
      expect(await trials().runs(attemptId)).toBe(false);
      await trials().begin(attemptId);
      expect([await trials().runs(attemptId), await trials().registered(attemptId)]).toEqual([true, false]);
      expect(await trials().register(attemptId)).toBe(true);
      expect(await trials().registered(attemptId)).toBe(true);
      await trials().end(attemptId);
      expect([await trials().runs(attemptId), await trials().registered(attemptId)]).toEqual([false, false]);
    });

    test('a trial whose server died is over after a while', async () => {
      const trials = new WorkerTrials({ database: scratch.database, clock });
      const left = newAttemptId();
      await trials.begin(left);
      await clock.advance(31 * 60_000);
      expect(await trials.runs(left)).toBe(false);
      await trials.begin(newAttemptId());
      const rows = await scratch.database.sql.selectFrom('worker_trials').select('attempt_id').execute();
      expect(rows).toHaveLength(1);
    });
  });
}
