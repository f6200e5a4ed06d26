import type { LogRun } from '../log/log-store.ts';
import type { PushedImage, WorkerStage } from '../model/attempt.ts';
import type { Fault, FaultOwner } from '../model/fault.ts';
import type { HostKey } from '../model/host-key.ts';
import type { AttemptId, BuildId, JobId } from '../model/ids.ts';
import type { BaseImageRegistry } from './base-image-credentials.ts';

/** What a worker's token proves. */
export interface WorkerIdentity {
  readonly buildId: BuildId;
  readonly jobId: JobId;
  readonly attemptId: AttemptId;
  readonly epoch: number;
  /** Which of the attempt's registrations it is an answer to; absent where it is to be the first. */
  readonly registration?: number;
}

export interface WorkerCapabilities {
  readonly version: string;
  readonly logBatches: boolean;
  readonly pushesByDigest: boolean;
  readonly engine: string;
  readonly platform: string;
}

/** Everything a worker needs for its attempt. */
export interface BuildPack {
  readonly identity: WorkerIdentity;
  readonly source:
    | { readonly kind: 'package'; readonly url: string; readonly ours: boolean }
    | {
        readonly kind: 'git';
        readonly url: string;
        readonly sha?: string;
        readonly ref?: string;
        readonly privateKey?: string;
        readonly token?: string;
        readonly username?: string;
        readonly lfs?: boolean;
      };
  /** Folder in the source. */
  readonly context: string;
  /** Relative to `context`. */
  readonly dockerfilePath: string;
  /** "namespace/name" */
  readonly repository: string;
  /** host[:port] */
  readonly registry: string;
  readonly registryInsecure: boolean;
  readonly pullToken: string;
  readonly pushToken: string;
  readonly tags: readonly string[];
  readonly baseImage?: { readonly username: string; readonly password: string; readonly registry: string };
  /** For base images in registries outside of Slipway. */
  readonly registryCredentials: readonly BaseImageRegistry[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly secrets: readonly { readonly id: string; readonly value: Uint8Array }[];
  readonly labels: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly platform: string;
  readonly noCache: boolean;
  readonly push: boolean;
  readonly maxSeconds: number;
  readonly maxSourceBytes: number;
  readonly allowedPrivateHosts: readonly string[];
  /** Of SSH servers that were seen before; for a git source. */
  readonly gitHostKeys: readonly HostKey[];
}

export type StageReport =
  | {
      readonly kind: 'stage';
      readonly stage: WorkerStage;
      readonly pullMetadata?: Readonly<Record<string, string>>;
      readonly commit?: string;
      /** Of SSH servers that were not in the build pack. */
      readonly gitHostKeys?: readonly HostKey[];
    }
  | { readonly kind: 'complete'; readonly image?: PushedImage }
  | { readonly kind: 'error'; readonly fault?: Fault; readonly owner?: FaultOwner };

/** Why a worker's call is refused: its token is good, but the attempt is not its own any more. */
export type Refusal = 'stale-epoch' | 'attempt-over' | 'already-registered' | 'unknown-attempt';

export class WorkerRefused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal, message: string) {
    super(message);
    this.name = 'WorkerRefused';
    this.refusal = refusal;
  }
}

/** The attempt is over, for its worker could not be given its build. The message is for whoever sees the worker's output. */
export class JobUnstartable extends Error {
  override readonly name = 'JobUnstartable';
}

/** What must not show in a log. */
export interface Unspeakable {
  /** Whole secrets. */
  readonly secrets: readonly Uint8Array[];
  /** How secrets begin that are not known whole; they go on as long as the bytes may belong to a token or a URL's query. */
  readonly openings: readonly Uint8Array[];
}

/**
 * What workers may do, after their token was verified. Called by the rpc layer only. Every method throws
 * WorkerRefused when the attempt is over or its epoch is not current; nothing has changed then.
 */
export interface WorkerSessions {
  /**
   * May be repeated until a worker was heard: its answer may have been lost. The identity in the pack has the number of this
   * registration, and of several workers that hold answers, the one that speaks first has the attempt.
   *
   * Throws JobUnstartable; after anything else that is no WorkerRefused the worker may ask again.
   *
   * Undefined capabilities: a worker that knows only the shared part of the protocol.
   */
  register(identity: WorkerIdentity, capabilities: WorkerCapabilities | undefined): Promise<BuildPack>;
  heartbeat(identity: WorkerIdentity): Promise<{ readonly alive: boolean; readonly cancel: boolean }>;
  /**
   * Sequence numbers start at 1; a repeated one is answered as before and changes nothing. One under which nothing was done
   * may be taken anew by another process.
   */
  setPhase(identity: WorkerIdentity, sequence: number, report: StageReport): Promise<boolean>;
  /** One batch. `gap` is a protocol error: the worker sends again from `expected`. */
  log(
    identity: WorkerIdentity,
    sequence: number,
    runs: readonly LogRun[],
  ): Promise<{ readonly kind: 'stored' | 'repeated' } | { readonly kind: 'gap'; readonly expected: number }>;
  cachedTag(identity: WorkerIdentity): Promise<string>;
  /**
   * What must not show in the log of this attempt's build: tokens, passwords, build secrets. For workers that do not
   * mask their own log. Any manager says the same, whichever the worker registered with.
   */
  secrets(identity: WorkerIdentity): Promise<Unspeakable>;
  /**
   * Calls `tell` once when the attempt is to stop; at once when that is known already. A hint that makes the cancel
   * reach the worker before its next heartbeat. Ends when the returned function is called.
   */
  onCancel(identity: WorkerIdentity, tell: () => void): () => void;
}
