import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OpenScratch } from '../../test/harness/scratch-database.ts';
import { ManualClock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { isRunning, type Outcome } from '../model/attempt.ts';
import type { Build } from '../model/build.ts';
import type { BuildId } from '../model/ids.ts';
import { isFinal, phaseOfJobs, phaseOfOutcome, phaseOfState } from '../model/phase.ts';
import { complete, expired, image, refunded, request, userError } from './build-queue.suite.ts';
import type { RunningAttempt } from './build-queue.ts';
import { stateOf } from './build-rows.ts';
import { SqlBuildQueue } from './sql-build-queue.ts';

const tries = 3;
const mostAttempts = 5;
const capacity = 4;

/** One thing that happens. `pick` chooses among the builds or attempts there are. */
const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('enqueue' as const), pick: fc.nat(5), priority: fc.nat(1) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('claim' as const), pick: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('register' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('stage' as const), pick: fc.nat() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('finish' as const),
      pick: fc.nat(),
      outcome: fc.constantFrom(complete, complete, userError, refunded, expired),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('publish' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('failPublish' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('adopt' as const), pick: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('time' as const), pick: fc.nat(40_000) }) },
);

/** Whatever is done in whatever order, also twice, late and under old epochs: what must always hold. */
export function buildQueueProperties(name: string, open: OpenScratch, numRuns: number): void {
  describe(`any history of a build queue on ${name}`, () => {
    it('keeps every invariant after each step, and ends with every build final once', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 60 }), async (history) => {
          await using scratch = await open();
          const clock = new ManualClock();
          const queue = new SqlBuildQueue(scratch.database, {
            clock,
            tries,
            mostAttempts,
            secretBox: new SecretBox({ key: randomBytes(32) }),
          });
          const builds: BuildId[] = [];
          /** Every attempt that was ever claimed, those that are long over as well. */
          const claimed: RunningAttempt[] = [];
          const finals = new Map<BuildId, Build>();
          const endings: Outcome['kind'][] = [];

          const at = <T>(list: readonly T[], pick: number): T | undefined => list[pick % list.length];
          const finish = async (attempt: RunningAttempt, outcome: Outcome) => {
            const finished = await queue.finish(attempt.id, attempt.epoch, outcome, 30_000);
            if (finished.kind !== 'stale') endings.push(outcome.kind);
          };
          const publish = async (id: BuildId) => {
            const build = await queue.build(id);
            const epochs = claimed.filter(({ buildId, id: attemptId }) =>
              build?.jobs.some((job) => buildId === id && job.attempts.at(-1)?.id === attemptId),
            );
            await queue.publish(id, epochs, image);
          };

          async function check(): Promise<void> {
            const all = await queue.builds({ limit: 1000 });
            expect(all.map(({ id }) => id).sort()).toEqual([...builds].sort());
            let running = 0;
            const places = new Map<string, number>();
            for (const build of all) {
              // I5: what is final stays as it is, but for attempts of other platforms that are stopped later.
              const before = finals.get(build.id);
              if (before !== undefined) expect({ ...build, jobs: [] }).toEqual({ ...before, jobs: [] });
              else if (isFinal(build.phase)) finals.set(build.id, build);
              let started = false;
              for (const job of build.jobs) {
                expect(job.attempts.map(({ epoch }) => epoch)).toEqual(job.attempts.map((_, n) => n + 1));
                expect(job.attempts.length).toBeLessThanOrEqual(mostAttempts);
                expect(job.attempts.slice(0, -1).every(({ state }) => state === 'done')).toBe(true);
                const current = job.attempts.at(-1);
                if (current !== undefined && isRunning(stateOf(current.state))) {
                  running += 1;
                  started = true;
                }
                // Conservation: a try is left, is being used, was given back, or was used up.
                const used = job.attempts.filter(
                  ({ outcome, entered }) =>
                    entered.scheduled !== undefined &&
                    !(outcome?.kind === 'internal-error' && outcome.refunded),
                ).length;
                const row = await scratch.database.sql
                  .selectFrom('jobs')
                  .select('tries_left')
                  .where('id', '=', job.id)
                  .executeTakeFirstOrThrow();
                const capped =
                  current?.outcome?.kind === 'internal-error' && current.outcome.refunded ? 1 : 0;
                expect(row.tries_left + used + capped).toBe(tries);
              }
              if (started && !isFinal(build.phase)) {
                const lane = `${build.repository.namespace}/${build.repository.name}`;
                places.set(lane, (places.get(lane) ?? 0) + 1);
              }
              if (!isFinal(build.phase)) {
                const jobs = build.jobs.map(({ attempts }) => {
                  const current = attempts.at(-1);
                  const state = stateOf(current?.state ?? '');
                  if (state !== 'done') return phaseOfState(state);
                  return current?.outcome === undefined ? 'error' : phaseOfOutcome(current.outcome);
                });
                expect(build.phase).toBe(phaseOfJobs(jobs));
              }
            }
            expect(running).toBeLessThanOrEqual(capacity);
            expect((await queue.counts()).running).toBe(running);
            expect([...places.values()].every((each) => each === 1)).toBe(true);
          }

          for (const step of history) {
            const attempt = at(claimed, step.pick);
            const build = at(builds, step.pick);
            switch (step.do) {
              case 'enqueue': {
                const platforms = step.pick === 5 ? ['linux/amd64', 'linux/arm64'] : [];
                const repository = `ns-${step.pick % 2}/app-${step.pick % 3}`;
                builds.push(
                  (await queue.enqueue(request(repository, { platforms, priority: step.priority }))).id,
                );
                break;
              }
              case 'claim':
                claimed.push(
                  ...(await queue.claim({
                    manager: `m${step.pick % 2}`,
                    limit: step.pick + 1,
                    capacity,
                    lease: 60_000,
                  })),
                );
                break;
              case 'release':
                if (attempt) await queue.release(attempt.id, attempt.epoch, clock.now() + 1000);
                break;
              case 'register':
                if (attempt) await queue.register(attempt.id, attempt.epoch, { capabilities: {} });
                break;
              case 'stage':
                if (attempt) await queue.enterStage(attempt.id, attempt.epoch, 'building');
                break;
              case 'finish':
                if (attempt) await finish(attempt, step.outcome);
                break;
              case 'publish':
                if (build) await publish(build);
                break;
              case 'failPublish':
                if (build) await queue.failPublish(build, { code: 'publishissue', message: 'No.' });
                break;
              case 'cancel':
                if (build) await queue.cancel(build, 'ann');
                break;
              case 'adopt':
                await queue.adopt(`m${step.pick}`, 60_000, [`m${(step.pick + 1) % 2}`]);
                break;
              case 'time':
                await clock.advance(step.pick);
                break;
            }
            await check();
          }

          // I1: left to itself, everything ends. Two rounds more than any build has attempts.
          for (let round = 0; round < (builds.length + 2) * 2; round += 1) {
            await clock.advance(120_000);
            await queue.adopt('last', 60_000, ['m0', 'm1', 'm2']);
            claimed.push(...(await queue.claim({ manager: 'last', limit: 100, capacity, lease: 60_000 })));
            for (const attempt of await queue.supervised('last')) await finish(attempt, complete);
            for (const id of await queue.unpublished('last', 1000)) await publish(id);
            for (const { id } of await queue.builds({ limit: 1000, unfinishedOnly: true })) await publish(id);
          }
          await check();
          expect(finals.size).toBe(builds.length);
          expect(await queue.counts()).toEqual({ queued: 0, running: 0, ownerless: 0 });
          const unended = await scratch.database.sql
            .selectFrom('attempts')
            .select('id')
            .where('state', '!=', 'done')
            .execute();
          expect(unended).toEqual([]);
        }),
        { numRuns },
      );
    }, 120_000);
  });
}
