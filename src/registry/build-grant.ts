import {
  type AttemptId,
  type BuildId,
  type JobId,
  parseAttemptId,
  parseBuildId,
  parseJobId,
} from '../model/ids.ts';
import { parseTag, type Tag } from '../model/tag.ts';

/**
 * On whose behalf a build's credential and the registry tokens made from it act. The gateway refuses them once
 * the attempt is not current any more.
 */
export interface BuildGrant {
  readonly buildId: BuildId;
  readonly jobId: JobId;
  readonly attemptId: AttemptId;
  readonly epoch: number;
  /**
   * How manifests are written: a worker of our own never writes tags, whatever it asks for (the manager does,
   * when the build is complete); a reference worker writes exactly `tags`.
   */
  readonly worker: 'slipway' | 'reference';
  readonly tags: readonly Tag[];
  /** In whose name the build pulls: elsewhere than in its own repository it may pull what that user or robot may. */
  readonly asker?: string;
}

/** The grant as it stands in a JWT. */
export interface BuildGrantClaims {
  readonly build_id: string;
  readonly job_id: string;
  readonly attempt_id: string;
  readonly epoch: number;
  readonly worker: string;
  readonly tags: readonly string[];
  readonly asker?: string;
}

export function grantClaims(grant: BuildGrant): BuildGrantClaims {
  return {
    build_id: grant.buildId,
    job_id: grant.jobId,
    attempt_id: grant.attemptId,
    epoch: grant.epoch,
    worker: grant.worker,
    tags: grant.tags,
    ...(grant.asker === undefined ? {} : { asker: grant.asker }),
  };
}

/** Reads claims back; undefined when any of them is not what `grantClaims` writes. */
export function parseGrant(claims: unknown): BuildGrant | undefined {
  if (typeof claims !== 'object' || claims === null) return undefined;
  const { build_id, job_id, attempt_id, epoch, worker, tags, asker } = claims as Record<string, unknown>;
  const buildId = typeof build_id === 'string' ? parseBuildId(build_id) : undefined;
  const jobId = typeof job_id === 'string' ? parseJobId(job_id) : undefined;
  const attemptId = typeof attempt_id === 'string' ? parseAttemptId(attempt_id) : undefined;
  if (buildId === undefined || jobId === undefined || attemptId === undefined) return undefined;
  if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch)) return undefined;
  if (worker !== 'slipway' && worker !== 'reference') return undefined;
  if (asker !== undefined && typeof asker !== 'string') return undefined;
  if (!Array.isArray(tags)) return undefined;
  const parsed = tags.map((tag) => (typeof tag === 'string' ? parseTag(tag) : undefined));
  if (!parsed.every((tag) => tag !== undefined)) return undefined;
  return {
    buildId,
    jobId,
    attemptId,
    epoch,
    worker,
    tags: parsed,
    ...(asker === undefined ? {} : { asker }),
  };
}
