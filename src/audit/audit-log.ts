/**
 * Who acts. `name` of a worker is its attempt; of the system the part of Slipway. A personal token is named by its id,
 * never by its text.
 */
export type AuditActor =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly name: string; readonly tokenId?: string }
  | { readonly kind: 'robot' | 'worker' | 'system'; readonly name: string };

export const auditActorKinds = ['anonymous', 'user', 'robot', 'worker', 'system'] as const;

/**
 * - `done`: it happened
 * - `refused`: whoever asked was not allowed to, or not at this rate
 * - `failed`: it was allowed and did not happen; `reason` is the code of the error
 */
export const auditResults = ['done', 'refused', 'failed'] as const;
export type AuditResult = (typeof auditResults)[number];

/** What was acted on. `name` is `namespace/name` of a repository, the id of a build, file or token, the name of a user. */
export interface AuditTarget {
  readonly kind:
    | 'repository'
    | 'build'
    | 'user'
    | 'robot'
    | 'team'
    | 'token'
    | 'file'
    | 'executor'
    | 'namespace'
    | 'registry'
    | 'server'
    | 'trigger';
  readonly name: string;
  /** Whose administrators may see the record. */
  readonly namespace?: string;
}

/** From where it came. */
export interface AuditOrigin {
  /** IP address of the client; of what proxies say only those that are trusted are believed. */
  readonly address?: string;
  readonly userAgent?: string;
  readonly requestId?: string;
}

/** One thing that somebody did or tried to. Carries no secret: whoever writes one picks what goes into it. */
export interface AuditEvent extends AuditOrigin {
  readonly actor: AuditActor;
  /** `thing.verb`, such as `build.cancel`. */
  readonly action: string;
  readonly target?: AuditTarget;
  readonly result: AuditResult;
  readonly reason?: string;
  readonly detail?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

export interface AuditRecord extends AuditEvent {
  /** Goes up with every record; gaps mean nothing. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly detail: NonNullable<AuditEvent['detail']>;
}

/** Every part is optional; what is given must all fit. */
export interface AuditQuery {
  readonly actor?: string;
  readonly actorKind?: AuditActor['kind'];
  /** A whole action, or with `*` at its end the beginning of one. */
  readonly action?: string;
  /** Name of the target. */
  readonly target?: string;
  readonly namespace?: string;
  readonly result?: AuditResult;
  /** Milliseconds since 1970; `until` is not part of the span. */
  readonly since?: number;
  readonly until?: number;
  /** Only records with a lower number: where the page before ended. */
  readonly before?: number;
  readonly limit: number;
}

/**
 * The record of who did what, from where and with what result. Records are added and read, and never changed; the old
 * ones go as a whole. Any number of processes write to the same one.
 */
export interface AuditLog {
  /** Durable when it resolves. */
  write(event: AuditEvent): Promise<void>;
  /** Newest first. */
  records(query: AuditQuery): Promise<readonly AuditRecord[]>;
  /** Removes what is older; says how much that was. `before` is milliseconds since 1970. */
  prune(before: number, signal?: AbortSignal): Promise<number>;
}
