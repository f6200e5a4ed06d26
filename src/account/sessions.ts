import type { Principal } from './accounts.ts';

/** A browser in which somebody is signed in. Times are milliseconds since 1970. */
export interface Session {
  readonly id: string;
  readonly username: string;
  /** How it was begun: `password`, or the id of the provider that vouched. */
  readonly way: string;
  readonly createdAt: number;
  /** Exact to some minutes. */
  readonly lastUsedAt: number;
  /** When it ends at the latest; earlier when it is not used. */
  readonly expiresAt: number;
  /** Where it was begun. */
  readonly address?: string;
  readonly userAgent?: string;
}

export interface SessionTimes {
  /** Milliseconds without a request after which a session ends. */
  readonly idle: number;
  /** Milliseconds after which a session ends, however much it is used. */
  readonly lifetime: number;
}

export const defaultSessionTimes: SessionTimes = { idle: 24 * 3_600_000, lifetime: 7 * 24 * 3_600_000 };

/** A user has this many at most; a further one ends the oldest. */
export const mostSessions = 100;

/** The sessions of browsers. Whoever has the secret of one is the user. Throws AccountError. */
export interface Sessions {
  readonly times: SessionTimes;
  /** Throws `unknown` when there is no such user, or one that may not sign in. */
  open(session: {
    readonly username: string;
    readonly way: string;
    readonly address?: string;
    readonly userAgent?: string;
  }): Promise<{ readonly secret: string; readonly session: Session }>;
  /** Uses a session, which puts its end off. Undefined: there is none, or it has ended. */
  use(secret: string): Promise<Principal | undefined>;
  /** Newest first. */
  list(username: string): Promise<readonly Session[]>;
  end(username: string, id: string): Promise<boolean>;
  /** Ends all of a user's, but one if that is named; says how many. */
  endAll(username: string, exceptId?: string): Promise<number>;
}
