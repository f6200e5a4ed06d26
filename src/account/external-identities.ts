/** Somebody whom a provider vouches for. `(issuer, subject)` is one person, for ever; everything else may change. */
export interface ExternalPerson {
  readonly issuer: string;
  readonly subject: string;
  /** What they are called there; a wish for a user name, and what people read. */
  readonly name: string;
  /** Only if the provider says that it is theirs. */
  readonly email?: string;
}

/** That a user is somebody elsewhere. Times are milliseconds since 1970. */
export interface ExternalIdentity {
  readonly id: string;
  readonly issuer: string;
  readonly subject: string;
  readonly username: string;
  /** The login by which it came. */
  readonly provider: string;
  readonly label: string;
  readonly createdAt: number;
  readonly lastUsedAt?: number;
}

/** A user has this many at most. */
export const mostIdentities = 20;

/** Which external people are which users. Throws AccountError. */
export interface ExternalIdentities {
  /** The user this person is; notes that they came. Undefined: nobody's. */
  userOf(person: ExternalPerson): Promise<string | undefined>;
  /** Makes a user of a name that is free, like the person's. Says the user's name. `exists`: the person is somebody already. */
  createUser(provider: string, person: ExternalPerson): Promise<string>;
  /** The user is this person too. `exists`: the person is another user; `too-many`; `unknown`: no such user. */
  link(username: string, provider: string, person: ExternalPerson): Promise<void>;
  list(username: string): Promise<readonly ExternalIdentity[]>;
  unlink(username: string, id: string): Promise<boolean>;
  /** True the first time; from then on false, until `forgetAt`. */
  useLogin(hash: string, forgetAt: number): Promise<boolean>;
}
