import { HeldBuilds } from './held-builds.ts';
import type { Step } from './step.ts';

/**
 * Derives the phase of builds from their jobs and stores it; every change of an attempt is followed by this, in the
 * same transaction, and nothing else writes `builds.phase` after a build is made. A final phase is never touched.
 *
 * When a build gets final: its secrets are dropped, its attempts that wait are over, those that run are to be
 * stopped by their managers, and its place goes to the next build. The caller holds the lock of the build, and of
 * its namespace when the build may get final.
 */
export async function settle(step: Step, buildIds: readonly string[]): Promise<void> {
  if (buildIds.length === 0) return;
  const builds = await HeldBuilds.hold(step, buildIds, true);
  builds.settleAll();
  await builds.write();
}
