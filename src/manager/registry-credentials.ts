import type { RepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import type { WorkerIdentity } from './worker-sessions.ts';

/** How a worker may write manifests: not at all, by digest only, or exactly these tags. */
export type PushRight =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'by-digest' }
  | { readonly kind: 'tags'; readonly tags: readonly Tag[] };

/** Makes the passwords a worker pulls and pushes with. They are good for one repository and one attempt. */
export interface RegistryCredentials {
  /** How all of them begin, and the tokens that registries give for them: by that they are kept out of logs. */
  readonly openings: readonly Uint8Array[];
  issue(request: {
    readonly identity: WorkerIdentity;
    readonly repository: RepositoryName;
    readonly push: PushRight;
    /** Built from somebody else's source: it pulls only what everybody may, and what it is to push. */
    readonly untrusted: boolean;
    /** A user or robot: the build may pull what that one may. */
    readonly asker?: string;
    /** Milliseconds since 1970. */
    readonly expiresAt: number;
  }): Promise<{ readonly pullToken: string; readonly pushToken: string }>;
}
