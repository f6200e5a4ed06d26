/** A person's account as superusers see it. */
export interface User {
  readonly username: string;
  readonly email?: string;
  /** Now, given what the configuration says. */
  readonly superuser: boolean;
  readonly enabled: boolean;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

/** The life of users after they are made. Throws AccountError. */
export interface Users {
  /** By name. */
  users(query: {
    readonly limit: number;
    readonly after?: string;
    /** Default: disabled ones too. */
    readonly enabledOnly?: boolean;
  }): Promise<readonly User[]>;
  user(username: string): Promise<User | undefined>;
  /** What is not given stays. Disabling ends sessions, and with the user stops tokens and robots. Undefined: no such user. */
  change(
    username: string,
    change: { readonly email?: string; readonly enabled?: boolean },
  ): Promise<User | undefined>;
  /** Ends all sessions, and the tokens if asked for. Throws `bad-password`. False: no such user. */
  setPassword(
    username: string,
    password: string,
    options: { readonly revokeTokens: boolean },
  ): Promise<boolean>;
  /** Of these names those of users who are not enabled. */
  disabledAmong(names: readonly string[]): Promise<readonly string[]>;
  /**
   * With tokens, robots and permissions; triggers that were connected by the user are switched off. Throws `not-empty` (has
   * repositories), `last-admin` (of an organization).
   */
  delete(username: string): Promise<boolean>;
}
