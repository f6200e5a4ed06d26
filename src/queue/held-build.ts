import type { RowSetColumn } from '../db/row-set.ts';
import type { Row } from '../db/schema.ts';

/** What of a build its attempts' changes may change, and what is needed to decide it. */
export const buildColumns = {
  id: 'text',
  phase: 'text',
  desired: 'text',
  cancelled_by: 'text',
  verdict: 'text',
  admitted: 'int',
  finished_at: 'int',
  fault_json: 'text',
  digest: 'text',
  image_size: 'int',
  commit_sha: 'text',
  publisher: 'text',
  publish_until: 'int',
} as const satisfies Readonly<Partial<Record<keyof Row<'builds'>, RowSetColumn>>>;

export type HeldBuildRow = Pick<
  Row<'builds'>,
  keyof typeof buildColumns | 'namespace' | 'repository' | 'priority'
> & {
  /** 0: the build was asked to publish nothing. */
  readonly pushes: number;
};

export interface HeldJob {
  readonly id: string;
  readonly build_id: string;
  readonly platform: string;
  readonly ordinal: number;
  tries_left: number;
  attempt_id: string;
  /** The one with the highest epoch. */
  attempt: Row<'attempts'>;
}

export interface HeldBuild {
  readonly row: HeldBuildRow;
  /** In their order. */
  readonly jobs: readonly HeldJob[];
}
