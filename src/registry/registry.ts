import type { Digest } from '../model/digest.ts';
import type { BuildId } from '../model/ids.ts';
import type { Tag } from '../model/tag.ts';

/** The manager that publishes a build, as far as it knows itself. */
export interface PublishingManager {
  readonly buildId: BuildId;
  readonly manager: string;
}

/** An image, or an index of images, that is to be known by tags. */
export interface Publication {
  /** The path in the registry: `<namespace>/<name>` in the embedded one. */
  readonly repository: string;
  readonly digest: Digest;
  readonly tags: readonly Tag[];
}

/** A manifest that a registry accepted. */
export interface Push {
  readonly repository: string;
  /** Absent for a push by digest. */
  readonly tag?: Tag;
  readonly digest: Digest;
  readonly mediaType: string;
  /** Who pushed: a user's or robot's name, or `build <id>`. */
  readonly pusher: string;
}

/** Bytes of everything an image is made of, as stored: configuration and layers, each counted once. */
export interface ImageSize {
  readonly bytes: number;
  readonly layers: number;
}

/**
 * The place images go to, as the manager sees it. Everything throws RegistryError, or the signal's reason.
 * Every call may be repeated; a call after one whose answer was lost has the same effect as that one alone.
 */
export interface Registry {
  /**
   * Puts the tags on a manifest that is in the repository already, and returns when the registry serves that
   * digest under every tag. `manifest-unknown` when the manifest is not there. Tags are moved one after the
   * other: on an error some may have moved. `lost`: `by` does not publish the build any more; a tag that it may have
   * moved since stands for what was pushed last by others.
   */
  publish(
    publication: Publication,
    by: PublishingManager,
    signal: AbortSignal,
  ): Promise<'published' | 'lost'>;

  /** The digest that a tag stands for now; undefined when there is no such tag or repository. */
  digestOf(repository: string, tag: Tag, signal: AbortSignal): Promise<Digest | undefined>;

  /** All tags in the registry's order; none for an unknown repository. */
  tags(repository: string, signal: AbortSignal): Promise<readonly Tag[]>;

  imageSize(repository: string, digest: Digest, signal: AbortSignal): Promise<ImageSize>;

  /** Removes a manifest and all its tags. A manifest that is not there is success. */
  delete(repository: string, digest: Digest, signal: AbortSignal): Promise<void>;
}
