import type { RepositoryName } from '../model/repository-name.ts';

/** Who makes a request. */
export type Principal =
  | { readonly kind: 'anonymous' }
  | {
      readonly kind: 'user';
      readonly username: string;
      readonly superuser: boolean;
      readonly scopes: readonly TokenScope[] | 'all';
      /** Of the personal token that was used; absent: a password. */
      readonly tokenId?: string;
      /** Of the browser's session that was used. */
      readonly sessionId?: string;
    }
  | { readonly kind: 'robot'; readonly name: string; readonly namespace: string };

export type Role = 'read' | 'write' | 'admin';

/** What a personal token may be used for; a token has one or more. */
export type TokenScope = 'repo:read' | 'repo:write' | 'repo:admin' | 'user:admin' | 'super:user';

export interface Repository {
  readonly name: RepositoryName;
  readonly description: string;
  readonly visibility: 'public' | 'private';
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export interface PersonalToken {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly TokenScope[];
  readonly createdAt: number;
  readonly expiresAt?: number;
  readonly lastUsedAt?: number;
}

/** A role given to a user on one repository, besides what the namespace gives. */
export interface Permission {
  readonly username: string;
  readonly role: Role;
}

/** Accounts, repositories and who may do what. Throws AccountError. */
export interface Accounts {
  createUser(user: {
    username: string;
    password: string;
    email?: string;
    superuser?: boolean;
  }): Promise<void>;
  /** Whether any user exists; the first one is made at first start. */
  anyUser(): Promise<boolean>;
  /** Whether there is a user of this name who may sign in. */
  isEnabled(username: string): Promise<boolean>;
  /** Undefined: wrong name or password (the two are not told apart, nor by time). */
  verifyPassword(username: string, password: string): Promise<Principal | undefined>;
  verifyToken(token: string): Promise<Principal | undefined>;
  /** The token's text is returned once and stored only as a hash. */
  createToken(
    username: string,
    token: { name: string; scopes: readonly TokenScope[]; expiresAt?: number },
  ): Promise<{ token: string; view: PersonalToken }>;
  tokens(username: string): Promise<readonly PersonalToken[]>;
  revokeToken(username: string, id: string): Promise<boolean>;

  createRepository(
    name: RepositoryName,
    options: { description?: string; visibility: 'public' | 'private' },
  ): Promise<Repository>;
  repository(name: RepositoryName): Promise<Repository | undefined>;
  repositories(
    principal: Principal,
    query: { namespace?: string; limit: number; after?: string },
  ): Promise<readonly Repository[]>;
  deleteRepository(name: RepositoryName): Promise<boolean>;
  /** The strongest role the principal has on a repository, or in a namespace when the repository does not exist. */
  roleOn(principal: Principal, name: RepositoryName): Promise<Role | undefined>;
  permissions(name: RepositoryName): Promise<readonly Permission[]>;
  /** Undefined takes the permission away. False: there is no such user, repository or permission. */
  setPermission(name: RepositoryName, username: string, role: Role | undefined): Promise<boolean>;
}
