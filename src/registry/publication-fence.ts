import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { PublishingManager, Push } from './registry.ts';

/**
 * Keeps a manager that was stopped while it published from having the last word: the registry takes a tag from whoever
 * writes it, so what was written counts once it is recorded, and only who still publishes the build records.
 */
export interface PublicationFence {
  /** Whether the queue says so now. */
  holds(by: PublishingManager): Promise<boolean>;
  /** Records the push unless somebody else publishes the build by now, or it is over; false then. One statement. */
  recordHeld(push: Push & { readonly tag: Tag }, by: PublishingManager): Promise<boolean>;
  /** What was recorded last of a tag, whoever pushed it. */
  recorded(repository: string, tag: Tag): Promise<Digest | undefined>;
}
