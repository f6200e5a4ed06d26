import type { RepositoryName } from '../model/repository-name.ts';
import type { Principal } from './principal.ts';
import type { RobotName } from './robot-name.ts';
import type { Role } from './role.ts';

/** An account for programs. It belongs to a namespace and is worth what repositories give it, nothing more. */
export interface Robot {
  /** `namespace+short`. */
  readonly name: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** When its token ends; absent: never. */
  readonly expiresAt?: number;
  readonly lastUsedAt?: number;
  /** Id of the personal token that its token was made with; absent: a password or a browser. */
  readonly madeWith?: string;
}

/** How a robot's token is made. */
export interface RobotTokenOptions {
  readonly expiresAt?: number;
  readonly madeWith?: string;
}

/** A role on one repository. */
export interface Grant {
  readonly repository: RepositoryName;
  readonly visibility: 'public' | 'private';
  readonly role: Role;
}

/** Where a robot counts for something. */
export interface RobotReach {
  readonly teams: readonly string[];
  /** Of the repositories it has a role of its own on, a bounded number. */
  readonly repositories: readonly RepositoryName[];
}

/** The robots. A robot may sign in while its namespace is an organization, or a user's who may. Throws AccountError. */
export interface Robots {
  /** The token's text is returned once and stored only as a hash. Throws `bad-name`, `bad-token`, `exists`, `unknown`, `too-many`, `too-often`. */
  create(
    name: RobotName,
    options?: RobotTokenOptions & { readonly description?: string },
  ): Promise<{ readonly token: string; readonly robot: Robot }>;
  /** By name; `after` is a robot's whole name. */
  robots(
    namespace: string,
    query: { readonly limit: number; readonly after?: string },
  ): Promise<readonly Robot[]>;
  robot(name: RobotName): Promise<Robot | undefined>;
  /** The token before is worth nothing from then on. Undefined: there is no such robot. */
  regenerate(
    name: RobotName,
    options?: RobotTokenOptions,
  ): Promise<{ readonly token: string; readonly robot: Robot } | undefined>;
  /** By name: those whose token was made with this personal token, and has not expired. */
  madeWith(tokenId: string): Promise<readonly Robot[]>;
  /** Takes its permissions with it. */
  delete(name: RobotName): Promise<boolean>;
  /** Roles of its own, not those of its teams; by repository. `after` is `namespace/name`. */
  grants(
    name: RobotName,
    query: { readonly limit: number; readonly after?: string },
  ): Promise<readonly Grant[]>;
  reach(names: readonly string[]): Promise<ReadonlyMap<string, RobotReach>>;
  /** Undefined: the token is wrong or expired, or the robot's owner is disabled. */
  verify(token: string): Promise<Principal | undefined>;
  /** Whether there is a robot of this whole name that may sign in now. */
  isEnabled(name: string): Promise<boolean>;
}
