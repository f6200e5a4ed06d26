import type { CommitInfo, TriggerMetadata } from './metadata.ts';
import type { TriggerService } from './trigger.ts';

/** One delivery of a webhook as it came over HTTP. Header names are lower case. */
export interface HookDelivery {
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The bytes as they came: signatures are made over these. */
  readonly body: Uint8Array;
}

/** The repository that a trigger builds. Deliveries may speak of no other one, and never say where it is cloned from. */
export interface OwnRepository {
  /** `owner/name` at a host; undefined: the source is a URL, and payloads name it as they like. */
  readonly name: string | undefined;
  readonly gitUrl: string;
}

/** What a delivery turned out to be. */
export type HookEvent =
  | {
      readonly kind: 'push';
      readonly metadata: TriggerMetadata;
      /** Paths that the push added, changed or removed; absent: the payload does not say, or not all. */
      readonly paths?: readonly string[];
      /** What the commit was before the push; absent for a new ref. */
      readonly before?: string;
      /** What only the host's interface knows is missing (people, commit, default branch); see `HostClient.complete`. */
      readonly incomplete: boolean;
    }
  | {
      readonly kind: 'pull-request';
      readonly number: number;
      readonly metadata: TriggerMetadata;
      /** From a repository of somebody else. */
      readonly fork: boolean;
      /** Of the branch it is to be merged into. */
      readonly base: string;
      readonly incomplete: boolean;
    }
  /** Nothing to build, and that is right so: `reason` is a sentence for people, such as "The branch was deleted.". */
  | {
      readonly kind: 'skip';
      readonly reason: string;
      /**
       * What it was about, as far as it says so. A ref counts as delivered at the commit; one that was deleted is at none.
       */
      readonly at?: { readonly ref?: string; readonly commit?: string };
    };

/** The way a delivery proves that it comes from the host. */
export type Proof = 'proved' | 'missing' | 'wrong';

/**
 * One of the services that git repositories are at. What is here needs no network; `connect` gives what does.
 * The custom host has no client.
 */
export interface GitHost {
  readonly service: TriggerService;
  /** For people: "GitHub". */
  readonly title: string;
  /** Where people see a repository in a browser; undefined: there is no such place. */
  repositoryUrl(source: string): string | undefined;
  /** The host's own name of the delivery, the same when it is sent again; absent: it gives none. */
  deliveryName(delivery: HookDelivery): string | undefined;
  /** Compared in constant time. Signatures with SHA-1 only count as missing. */
  prove(delivery: HookDelivery, secret: string): Proof;
  /** Throws TriggerError `malformed` that says what is wrong; being of another repository than the trigger's own is. */
  read(delivery: HookDelivery, own: OwnRepository): HookEvent;
  /**
   * A client that acts as whoever gave the token: as `HostConnection` gave it, or an access token as a person made it.
   * A token that expires is renewed shortly before, and when the host refuses it. Undefined: there is no interface to
   * ask (custom-git).
   */
  connect(token: string, keeper?: TokenKeeper): HostClient | undefined;
  /** Gets tokens by sending people there; undefined: people bring tokens that they made at the host, or need none. */
  readonly oauth: HostAuthorization | undefined;
}

/** The authorization code flow at one host; `host/host-connection.ts` leads a person through it. */
export interface HostAuthorization {
  /** Where to send a person; `challenge` is the SHA-256 of the verifier, base64url. */
  authorizeUrl(ask: {
    readonly state: string;
    readonly redirect: string;
    readonly challenge: string;
  }): string;
  /** The token for a code, as `connect` takes it. Throws HostError. */
  exchange(
    grant: { readonly code: string; readonly redirect: string; readonly verifier: string },
    signal: AbortSignal,
  ): Promise<string>;
}

/**
 * Where the token of a trigger is kept. A token that was renewed is worth nothing any more at some hosts (GitLab takes
 * each refresh token once), so the new one has to be kept before it is used.
 */
export interface TokenKeeper {
  /** The token as it is kept now: somebody else may have renewed it. */
  latest(): Promise<string | undefined>;
  /** Keeps a new one in its place. */
  renewed(token: string): Promise<void>;
}

export interface HostRepository {
  /** `owner/name` */
  readonly name: string;
  readonly description: string;
  readonly url: string;
  readonly private: boolean;
  readonly defaultBranch?: string;
  /** Milliseconds since 1970 of the last push, 0 if not known. */
  readonly lastUpdated: number;
  /** Whether the account may install hooks and keys. */
  readonly admin: boolean;
}

export interface HostNamespace {
  readonly id: string;
  readonly title: string;
  readonly personal: boolean;
  readonly avatarUrl?: string;
  readonly url?: string;
}

export interface CommitStatus {
  readonly state: 'pending' | 'success' | 'failure' | 'error';
  readonly description: string;
  /** Link to the log. */
  readonly url: string;
  /** Tells statuses of one commit apart, such as `slipway/ns/repo`. */
  readonly context: string;
}

/**
 * The host's interface over HTTP, as one account. Every method throws HostError with a code: `unauthorized` (the token is not good
 * any more), `forbidden`, `not-found`, `rate-limited` (with `retryAfter` milliseconds), `unavailable`, `unexpected`, `cancelled`. Pages are followed to the end, up to bounds.
 */
export interface HostClient {
  /** Who the token belongs to. */
  account(signal: AbortSignal): Promise<{ readonly username: string }>;
  namespaces(signal: AbortSignal): Promise<readonly HostNamespace[]>;
  repositories(namespace: string, signal: AbortSignal): Promise<readonly HostRepository[]>;
  repository(name: string, signal: AbortSignal): Promise<HostRepository & { readonly sshUrl: string }>;
  refs(
    repository: string,
    kind: 'branch' | 'tag',
    signal: AbortSignal,
  ): Promise<readonly { readonly name: string; readonly commit: string }[]>;
  /** Paths of files named `Dockerfile` or `*.Dockerfile`, with a leading `/`. */
  dockerfiles(repository: string, ref: string, signal: AbortSignal): Promise<readonly string[]>;
  /** Undefined: there is no such file. Throws `unexpected` when it is larger than `most` bytes. */
  file(
    repository: string,
    ref: string,
    path: string,
    most: number,
    signal: AbortSignal,
  ): Promise<Uint8Array | undefined>;
  /** The commit of a branch, tag or id; undefined: there is none. */
  commit(
    repository: string,
    ref: string,
    signal: AbortSignal,
  ): Promise<{ readonly sha: string; readonly info: CommitInfo } | undefined>;
  /** The newest commit of a branch, or the one of a tag, and of nothing else of that name; undefined: there is none. */
  head(
    repository: string,
    kind: 'branch' | 'tag',
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly sha: string; readonly info: CommitInfo } | undefined>;
  /** Paths that differ between two commits; undefined: more than can be told. */
  changedPaths(
    repository: string,
    before: string,
    after: string,
    signal: AbortSignal,
  ): Promise<readonly string[] | undefined>;
  /** What an event says, with what was missing looked up; things that cannot be found stay away. Undefined: there is nothing to build after all. */
  complete(
    repository: string,
    metadata: TriggerMetadata,
    signal: AbortSignal,
  ): Promise<TriggerMetadata | undefined>;
  /** Installs a hook for pushes and pull requests that sends to `url` and proves itself with `secret`; the host's name of it. */
  addHook(
    repository: string,
    hook: { readonly url: string; readonly secret: string },
    signal: AbortSignal,
  ): Promise<string>;
  /** The host's names of the hooks that send to `url`. */
  hooksTo(repository: string, url: string, signal: AbortSignal): Promise<readonly string[]>;
  removeHook(repository: string, id: string, signal: AbortSignal): Promise<void>;
  /** Installs a key that may read; the host's name of it. */
  addKey(
    repository: string,
    key: { readonly title: string; readonly publicKey: string },
    signal: AbortSignal,
  ): Promise<string>;
  /** The host's names of the installed keys that are this one, whatever their comment. */
  keysOf(repository: string, publicKey: string, signal: AbortSignal): Promise<readonly string[]>;
  removeKey(repository: string, id: string, signal: AbortSignal): Promise<void>;
  setStatus(repository: string, commit: string, status: CommitStatus, signal: AbortSignal): Promise<void>;
}
