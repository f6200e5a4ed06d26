/** Whether a name is a person's or an organization's. */
export type NamespaceKind = 'user' | 'organization';

/**
 * What somebody is in a namespace:
 *
 * - `member`: what its teams may do with repositories
 * - `creator`: that, and may make repositories
 * - `admin`: everything: all repositories, teams, robots
 */
export type NamespaceRole = 'member' | 'creator' | 'admin';

export const namespaceRoles = ['member', 'creator', 'admin'] as const satisfies readonly NamespaceRole[];

export interface Organization {
  readonly name: string;
  readonly email?: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export interface OrganizationMember {
  readonly username: string;
  readonly teams: readonly string[];
}

/** Namespaces that are not a person's. Throws AccountError. */
export interface Organizations {
  /** The owner is the one member of the team `owners`, which administers it. Throws `bad-name`, `exists`, `unknown`. */
  create(organization: {
    readonly name: string;
    readonly email?: string;
    readonly owner: string;
  }): Promise<Organization>;
  organization(name: string): Promise<Organization | undefined>;
  /** By name; only those of which `member` is one, if given. */
  organizations(query: {
    readonly limit: number;
    readonly after?: string;
    readonly member?: string;
  }): Promise<readonly Organization[]>;
  /** With its teams and robots. Throws `not-empty` while it has repositories. */
  delete(name: string): Promise<boolean>;
  kindOf(name: string): Promise<NamespaceKind | undefined>;
  /** When the namespace came to be, a user's or an organization's; milliseconds since 1970. */
  namespaceSince(name: string): Promise<number | undefined>;
  /** The strongest role of a user in a namespace; `admin` in their own. */
  roleIn(username: string, namespace: string): Promise<NamespaceRole | undefined>;
  /** The users in its teams, by name. */
  members(
    namespace: string,
    query: { readonly limit: number; readonly after?: string },
  ): Promise<readonly OrganizationMember[]>;
  /** Out of all its teams, and with that out of what they may do. Throws `last-admin`. */
  removeMember(namespace: string, username: string): Promise<boolean>;
}
