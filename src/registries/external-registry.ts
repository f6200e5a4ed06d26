import type { RepositoryName } from '../model/repository-name.ts';

export interface RegistryKey {
  readonly namespace: string;
  readonly name: string;
}

/** Where a registry is and how to get in. What of it changes takes a given password to another place. */
export interface RegistryAddress {
  /** `host[:port]`, as in image names. */
  readonly host: string;
  /** Plain HTTP. */
  readonly insecure: boolean;
  readonly username: string;
  /** PEM of certificate authorities besides the machine's. */
  readonly ca?: string;
}

/** A registry outside of Slipway that a namespace has credentials for. The password is not in here. */
export interface ExternalRegistry extends RegistryKey, RegistryAddress {
  /** What every path there begins with, without slashes at its ends; may be empty. */
  readonly prefix: string;
  /** Whether builds may be published there. */
  readonly push: boolean;
  /** Whether workers get the credentials for base images from there. */
  readonly pull: boolean;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly changedAt: number;
}

export type NewRegistry = Omit<ExternalRegistry, 'createdAt' | 'changedAt'> & { readonly password: string };

/** Where the images of a repository are published. */
export interface Target {
  readonly registry: ExternalRegistry;
  /** The whole path there. */
  readonly path: string;
}

export interface Credentials {
  readonly registry: ExternalRegistry;
  readonly password: string;
}

/** The registries of namespaces, and which repositories publish to them. Throws RegistriesError. */
export interface Registries {
  /** By name; at most `mostRegistries`. */
  list(namespace: string): Promise<readonly ExternalRegistry[]>;
  find(key: RegistryKey): Promise<ExternalRegistry | undefined>;
  /** The registry with its password. */
  open(key: RegistryKey): Promise<Credentials | undefined>;
  create(registry: NewRegistry): Promise<ExternalRegistry>;
  replace(registry: NewRegistry): Promise<ExternalRegistry>;
  /** False: there is none. `in-use` names the repositories that publish there. */
  delete(key: RegistryKey): Promise<boolean>;
  /** Those that workers get credentials of. */
  pullCredentials(namespace: string): Promise<readonly Credentials[]>;

  target(repository: RepositoryName): Promise<Target | undefined>;
  /** By `namespace/name`; those that publish to the embedded registry are not in it. */
  targets(repositories: readonly RepositoryName[]): Promise<ReadonlyMap<string, Target>>;
  /** Undefined: images stay in the embedded registry. `in-use`: another repository of the namespace publishes there. */
  setTarget(
    repository: RepositoryName,
    target: { readonly registry: string; readonly path: string } | undefined,
  ): Promise<void>;
  /** Other paths in the registry that repositories of the namespace publish to. A few of them. */
  siblings(key: RegistryKey, path: string): Promise<readonly string[]>;
}

export const mostRegistries = 50;

/** `team/web` for the prefix `team` and the path `web`. */
export function pathIn({ prefix }: Pick<ExternalRegistry, 'prefix'>, path: string): string {
  return prefix === '' ? path : `${prefix}/${path}`;
}
