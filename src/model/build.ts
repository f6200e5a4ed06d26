import type { Outcome } from './attempt.ts';
import type { Digest } from './digest.ts';
import type { Fault } from './fault.ts';
import type { BuildId, JobId, UploadId } from './ids.ts';
import type { Phase } from './phase.ts';
import type { RepositoryName } from './repository-name.ts';
import type { Tag } from './tag.ts';

/** Where a build's source comes from. */
export type BuildSource =
  | { readonly kind: 'upload'; readonly uploadId: UploadId }
  | { readonly kind: 'archive'; readonly url: string }
  | {
      readonly kind: 'git';
      readonly url: string;
      /** A commit, when known: its whole id, or the first 7 and more digits of it where nobody could be asked for all. */
      readonly sha?: string;
      /** A branch, tag or full ref, when the commit is not known yet. */
      readonly ref?: string;
      /** Goes with a token; see source-credentials.ts for what opens a private repository. */
      readonly username?: string;
      /** Fetch what Git LFS keeps. */
      readonly lfs?: boolean;
    };

/** What a build was asked for; never changes after the build is queued. */
export interface BuildRequest {
  readonly repository: RepositoryName;
  readonly source: BuildSource;
  /** Folder in the source; starts with `/`. */
  readonly context: string;
  /** Path in the source; starts with `/`. */
  readonly dockerfilePath: string;
  /** As the client gave it, for the view. */
  readonly subdirectory?: string;
  readonly tags: readonly Tag[];
  readonly displayName: string;
  /** Empty for the worker's own platform. One job is made for each. */
  readonly platforms: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly noCache: boolean;
  /** False: build only, publish nothing. */
  readonly push: boolean;
  /** Who asked: a user name, when a person did. */
  readonly manualUser?: string;
  readonly pullRobot?: string;
  readonly triggerId?: string;
  /** Made of what comes from somebody else's repository (a pull request from a fork): nothing is pulled in anybody's name. */
  readonly untrusted?: boolean;
  readonly triggerMetadata?: Readonly<Record<string, unknown>>;
  /** Higher runs first; 0 is usual. */
  readonly priority: number;
  /** W3C `traceparent`: the trace that everything done for the build belongs to. */
  readonly traceParent?: string;
}

export interface JobView {
  readonly id: JobId;
  readonly platform: string;
  readonly attempts: readonly AttemptView[];
}

/** Times are milliseconds since 1970. */
export interface AttemptView {
  readonly id: string;
  readonly epoch: number;
  readonly state: string;
  readonly outcome?: Outcome;
  readonly executor?: string;
  readonly worker?: string;
  /** When each state was entered. */
  readonly entered: Readonly<Partial<Record<string, number>>>;
}

export interface Build extends BuildRequest {
  readonly id: BuildId;
  readonly phase: Phase;
  /** What is wanted of it; the API is the only writer. */
  readonly desired: 'run' | 'cancel';
  readonly cancelledBy?: string;
  /** The newer build that made this one needless while it waited; then `cancelledBy` is `superseded`. */
  readonly supersededBy?: BuildId;
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly finishedAt?: number;
  readonly fault?: Fault;
  /** Of the published image (or index). Present exactly when phase is `complete` and push was asked for. */
  readonly digest?: Digest;
  readonly imageSize?: number;
  /** Under which references another registry serves the image; absent: the embedded one serves it under the tags. */
  readonly published?: readonly string[];
  readonly commit?: string;
  readonly jobs: readonly JobView[];
}
