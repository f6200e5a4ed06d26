import type { RepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import type { Publication } from '../registry/registry.ts';

/** Publishes to the registry that a repository names, where it names one. */
export interface Targets {
  /**
   * Copies the image there from the embedded registry and puts the tags on it. May be repeated: what is there already
   * is not sent again. `still` is asked before every step and rejects when this manager must not go on; what it rejects with
   * and is no CodedError comes out of here. Undefined: the
   * repository publishes to the embedded registry.
   */
  publish(
    repository: RepositoryName,
    publication: Publication,
    still: (written: readonly Tag[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<TargetPublication | undefined>;
}

/** How it went. `written`: tags that stand for the image there now. */
export type TargetPublication =
  | { readonly kind: 'published'; readonly references: readonly string[] }
  /** Trying again would be refused again. */
  | { readonly kind: 'refused'; readonly message: string; readonly written: readonly Tag[] }
  /** Another try may succeed. */
  | { readonly kind: 'failed'; readonly message: string; readonly written: readonly Tag[] };
