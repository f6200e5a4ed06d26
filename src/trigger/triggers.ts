import type { Build } from '../model/build.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { HookDelivery, HostNamespace, HostRepository } from './git-host.ts';
import type { DeliveryId, Trigger, TriggerId, TriggerService } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** How a delivery ended; `waiting` until it was worked on. */
export type DeliveryOutcome =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'queued'; readonly build: string }
  | { readonly kind: 'skipped'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

export interface Delivery {
  readonly id: DeliveryId;
  readonly triggerId: TriggerId;
  readonly receivedAt: number;
  /** How it came: by the hook, found by looking for lost ones, by the clock, or sent again by a person. */
  readonly by: 'hook' | 'poll' | 'cron' | 'person';
  /** The host's own name of it. */
  readonly name?: string;
  readonly event?: string;
  readonly ref?: string;
  readonly commit?: string;
  /** How often the same one came besides the first. */
  readonly repeats: number;
  readonly outcome: DeliveryOutcome;
  /** The delivery that this one is sent again of. */
  readonly redeliveryOf?: DeliveryId;
}

/** What is found at the source before a trigger is activated. */
export interface Analysis {
  readonly status: 'publicbase' | 'requiresrobot' | 'analyzed' | 'warning' | 'error';
  readonly message?: string;
  /** Of the base image, when it is in our registry. */
  readonly namespace?: string;
  readonly name?: string;
  readonly isAdmin?: boolean;
  readonly robots?: readonly {
    readonly name: string;
    readonly canRead: boolean;
    readonly kind: 'user';
    readonly isRobot: true;
  }[];
  /** Templates and expressions that cannot be used, for people. */
  readonly faults: readonly string[];
}

export interface Activated {
  readonly trigger: Trigger;
  /** Templates and expressions that cannot be used and are passed over, for people. */
  readonly faults: readonly string[];
  /** What a person has to install, for hosts where we cannot: public key, URL of the webhook. */
  readonly credentials: readonly { readonly name: string; readonly value: string }[];
}

/** What a person wants built. */
export type StartWish =
  | { readonly branch: string }
  | { readonly ref: { readonly kind: 'branch' | 'tag'; readonly name: string } }
  | { readonly commit: string };

/**
 * Build triggers: their life, and what comes to them. Everything throws TriggerError. Called by the REST interface; the
 * only writer of triggers and deliveries.
 */
export interface Triggers {
  /** Inactive, and connected with a token of the person at the host where there is one to connect with. */
  create(
    repository: RepositoryName,
    what: { readonly service: TriggerService; readonly user: string; readonly token?: string },
  ): Promise<Trigger>;
  list(repository: RepositoryName): Promise<readonly Trigger[]>;
  find(repository: RepositoryName, id: TriggerId): Promise<Trigger | undefined>;
  /** Where people see its source in a browser; undefined where there is no such place, or no source yet. */
  repositoryUrl(trigger: Trigger): string | undefined;
  /**
   * Also brings a trigger back that was switched off by itself; its count of failures begins anew. One whose user was
   * deleted becomes `user`'s, unless it acted at a host with that one's account.
   */
  setEnabled(id: TriggerId, enabled: boolean, user?: string): Promise<Trigger>;
  /** Changes what an active trigger builds, but not its source. */
  configure(id: TriggerId, change: Partial<TriggerConfig>, pullRobot?: string | null): Promise<Trigger>;
  /**
   * Takes hook and key away at the host; the trigger goes even if that fails. Takes a minute at most, and goes on when
   * whoever asked is gone: what it would leave there, nobody else takes away.
   */
  remove(id: TriggerId): Promise<{ readonly leftAtHost: readonly string[] }>;

  /** Ids of the secrets that its builds get (RUN --mount=type=secret); their values are never read again. */
  secretIds(id: TriggerId): Promise<readonly string[]>;
  /** Undefined takes it away. Builds of pull requests from forks get none. */
  setSecret(id: TriggerId, secret: string, value: Uint8Array | undefined): Promise<boolean>;

  namespaces(id: TriggerId, signal: AbortSignal): Promise<readonly HostNamespace[]>;
  sources(id: TriggerId, namespace: string, signal: AbortSignal): Promise<readonly HostRepository[]>;
  /** Values that a field may have: `refs`, `branch_name`, `tag_name`. */
  fieldValues(
    id: TriggerId,
    field: string,
    config: Partial<TriggerConfig>,
    signal: AbortSignal,
  ): Promise<readonly (string | { readonly kind: 'branch' | 'tag'; readonly name: string })[] | undefined>;
  /** Dockerfiles at the source, each with the folders that may be its context. */
  dockerfiles(
    id: TriggerId,
    config: Partial<TriggerConfig>,
    signal: AbortSignal,
  ): Promise<{
    readonly paths: readonly string[];
    readonly contexts: Readonly<Record<string, readonly string[]>>;
  }>;
  analyze(
    id: TriggerId,
    config: Partial<TriggerConfig>,
    asker: { readonly username: string; readonly superuser?: boolean },
    signal: AbortSignal,
  ): Promise<Analysis>;
  activate(
    id: TriggerId,
    what: {
      readonly config: Partial<TriggerConfig>;
      readonly pullRobot?: string;
      /** `http(s)://host[:port]` that the host reaches this server by. */
      readonly origin: string;
    },
    signal: AbortSignal,
  ): Promise<Activated>;
  /** What a person installs by hand; for administrators of the repository only. */
  credentials(id: TriggerId, origin: string): Promise<Activated['credentials']>;
  start(
    id: TriggerId,
    wish: StartWish,
    user: string,
    signal: AbortSignal,
    traceParent?: string,
  ): Promise<Build>;
  builds(id: TriggerId, limit: number): Promise<readonly Build[]>;

  /**
   * Takes one delivery in. Resolves once it is stored and will not be lost, or is known to need nothing; a build is made
   * of it afterwards. The same delivery again changes nothing. Throws TriggerError with the code of the answer.
   */
  deliver(
    id: string,
    delivery: HookDelivery,
    /** The write token, as it came by Basic (`$token`) or Bearer; a host that signs needs none. */
    writeToken: string | undefined,
    /** W3C `traceparent` of the request that it came by: the build belongs to its trace. */
    traceParent?: string,
  ): Promise<{ readonly delivery?: DeliveryId; readonly note: string }>;
  /** Newest first. */
  deliveries(id: TriggerId, limit: number, before?: DeliveryId): Promise<readonly Delivery[]>;
  redeliver(id: TriggerId, delivery: DeliveryId, user: string): Promise<Delivery>;
}
