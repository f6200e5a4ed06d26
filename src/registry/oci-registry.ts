import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { OciClient } from './oci-client.ts';
import type { PublicationFence } from './publication-fence.ts';
import { imageSize, publish, putBack } from './publish.ts';
import type { ImageSize, Publication, PublishingManager, Registry } from './registry.ts';

export interface OciRegistryOptions {
  readonly client: OciClient;
  /** Who the pushes of `publish` are recorded for. */
  readonly pusher: string;
  readonly fence: PublicationFence;
}

/** Any registry that speaks the OCI protocol, the embedded one included. */
export class OciRegistry implements Registry {
  readonly #options: OciRegistryOptions;
  readonly #client: OciClient;

  constructor(options: OciRegistryOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  async publish(
    publication: Publication,
    by: PublishingManager,
    signal: AbortSignal,
  ): Promise<'published' | 'lost'> {
    const { fence, pusher } = this.#options;
    const { repository, digest } = publication;
    const published = await publish(
      this.#client,
      publication,
      {
        before: async () => await fence.holds(by),
        written: async (tag, mediaType) =>
          await fence.recordHeld({ repository, tag, digest, mediaType, pusher }, by),
      },
      signal,
    );
    // An earlier try may have written any of them, also when it failed.
    if (published === 'lost') await putBack(this.#client, publication, fence, signal);
    return published;
  }

  async digestOf(repository: string, tag: Tag, signal: AbortSignal): Promise<Digest | undefined> {
    return (await this.#client.headManifest(repository, tag, signal))?.digest;
  }

  async tags(repository: string, signal: AbortSignal): Promise<readonly Tag[]> {
    return await this.#client.listTags(repository, signal);
  }

  async imageSize(repository: string, digest: Digest, signal: AbortSignal): Promise<ImageSize> {
    return await imageSize(this.#client, repository, digest, signal);
  }

  async delete(repository: string, digest: Digest, signal: AbortSignal): Promise<void> {
    await this.#client.deleteManifest(repository, digest, signal);
  }
}
