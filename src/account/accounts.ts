import type { RepositoryName } from '../model/repository-name.ts';
import type { Organizations } from './organizations.ts';
import type { Principal, TokenScope } from './principal.ts';
import type { Robots } from './robots.ts';
import type { Role } from './role.ts';
import type { Teams } from './teams.ts';
import type { Users } from './users.ts';

export type { Principal, Role, TokenScope };

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
  /** Id of the token that it was made with; absent: a password or a browser. */
  readonly madeWith?: string;
}

/** A role given to a user or a robot on one repository, besides what the namespace and its teams give. */
export interface Permission {
  /** Of a robot: its whole name. */
  readonly username: string;
  readonly isRobot: boolean;
  readonly role: Role;
}

/** Accounts, repositories and who may do what. Throws AccountError. */
export interface Accounts {
  readonly users: Users;
  readonly robots: Robots;
  readonly organizations: Organizations;
  readonly teams: Teams;

  createUser(user: {
    username: string;
    password: string;
    email?: string;
    superuser?: boolean;
  }): Promise<void>;
  /** Whether any user exists; the first one is made at first start. */
  anyUser(): Promise<boolean>;
  /** Whether there is a user or robot of this name who may sign in. */
  isEnabled(username: string): Promise<boolean>;
  /** Undefined: wrong name or password (the two are not told apart, nor by time). */
  verifyPassword(username: string, password: string): Promise<Principal | undefined>;
  /** A user's personal token, or a robot's. */
  verifyToken(token: string): Promise<Principal | undefined>;
  /** The token's text is returned once and stored only as a hash. */
  createToken(
    username: string,
    token: { name: string; scopes: readonly TokenScope[]; expiresAt?: number; madeWith?: string },
  ): Promise<{ token: string; view: PersonalToken }>;
  tokens(username: string): Promise<readonly PersonalToken[]>;
  revokeToken(username: string, id: string): Promise<boolean>;

  createRepository(
    name: RepositoryName,
    options: {
      description?: string;
      visibility: 'public' | 'private';
      /** A user who is to administer it besides those who administer the namespace. */
      admin?: string;
    },
  ): Promise<Repository>;
  repository(name: RepositoryName): Promise<Repository | undefined>;
  repositories(
    principal: Principal,
    query: { namespace?: string; limit: number; after?: string },
  ): Promise<readonly Repository[]>;
  /** What is not given stays. Undefined: there is no such repository. */
  changeRepository(
    name: RepositoryName,
    change: { description?: string; visibility?: 'public' | 'private' },
  ): Promise<Repository | undefined>;
  /** False: there is no such repository, or it has builds. */
  deleteRepository(name: RepositoryName): Promise<boolean>;
  /** Whether there was a repository of this name, which was deleted, and nobody has taken the name since. */
  isFreed(name: RepositoryName): Promise<boolean>;
  /** The strongest role the principal has on a repository, or in a namespace when the repository does not exist. */
  roleOn(principal: Principal, name: RepositoryName): Promise<Role | undefined>;
  permissions(name: RepositoryName): Promise<readonly Permission[]>;
  /** Undefined takes the permission away. False: there is no such user or robot, repository or permission. */
  setPermission(name: RepositoryName, username: string, role: Role | undefined): Promise<boolean>;
}
