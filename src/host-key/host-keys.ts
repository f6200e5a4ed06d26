import type { HostKey } from '../model/host-key.ts';

export type GitServer = Pick<HostKey, 'host' | 'port'>;

/** A host key with how it came to be known. */
export interface SeenHostKey extends HostKey {
  /** Milliseconds since 1970. */
  readonly firstSeen: number;
  readonly buildId: string;
  readonly namespace: string;
}

/** At most so many servers are kept for the builds of one namespace, so that none fills the table. */
export const mostServersPerNamespace = 200;

/**
 * The host keys of git servers, as builds saw them first. One a server: what it shows later must be the same. Only
 * managers record, and only superusers forget.
 */
export interface HostKeys {
  /** For a build pack: the key of its own server, and those of others that its submodules may lie on. */
  known(own: GitServer | undefined): Promise<readonly HostKey[]>;
  /** Keeps keys of servers that are not known yet; of those that are nothing changes. */
  record(
    keys: readonly HostKey[],
    by: { readonly buildId: string; readonly namespace: string },
  ): Promise<void>;
  /** By host and port, from behind `after`. */
  list(limit: number, after?: GitServer): Promise<readonly SeenHostKey[]>;
  /** The next build believes the server again. False: it was not known. */
  forget(server: GitServer): Promise<boolean>;
}
