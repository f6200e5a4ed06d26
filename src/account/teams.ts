import type { RepositoryName } from '../model/repository-name.ts';
import type { NamespaceRole } from './organizations.ts';
import type { Grant } from './robots.ts';
import type { Role } from './role.ts';

export interface Team {
  readonly name: string;
  /** What its members are in the namespace. Robots are worth the team's repositories only. */
  readonly role: NamespaceRole;
  readonly description: string;
  readonly members: number;
  readonly repositories: number;
}

export interface TeamMember {
  /** Of a user, or the whole name of a robot. */
  readonly name: string;
  readonly isRobot: boolean;
}

/** A page of a list by name. */
export interface Page {
  readonly limit: number;
  readonly after?: string;
}

/** Teams of organizations. An organization always keeps somebody who administers it. Throws AccountError. */
export interface Teams {
  teams(namespace: string): Promise<readonly Team[]>;
  team(namespace: string, name: string): Promise<Team | undefined>;
  /** Makes it, or changes what is given. Throws `bad-name`, `unknown` (no such organization), `too-many`, `last-admin`. */
  set(
    namespace: string,
    name: string,
    change: { readonly role?: NamespaceRole; readonly description?: string },
  ): Promise<{ readonly team: Team; readonly made: boolean }>;
  /** Throws `last-admin`. */
  delete(namespace: string, name: string): Promise<boolean>;
  members(namespace: string, team: string, page: Page): Promise<readonly TeamMember[]>;
  /** A user, or a robot of the same namespace. Throws `unknown` when the team, user or robot is not there. */
  addMember(namespace: string, team: string, member: string): Promise<TeamMember>;
  /** Throws `last-admin`. */
  removeMember(namespace: string, team: string, member: string): Promise<boolean>;
  /** The team's roles on repositories; `after` is a name within the namespace. */
  grants(namespace: string, team: string, page: Page): Promise<readonly Grant[]>;
  /** The teams with a role on a repository. */
  permissions(repository: RepositoryName): Promise<readonly { readonly team: string; readonly role: Role }[]>;
  /** Undefined takes the role away. False: there is no such team, repository or permission. */
  setPermission(repository: RepositoryName, team: string, role: Role | undefined): Promise<boolean>;
}
