import type { Digest } from '../model/digest.ts';
import type { Tag } from '../model/tag.ts';
import type { OciClient } from './oci-client.ts';
import { imageSize, publish } from './publish.ts';
import type { ImageSize, Publication, Push, Registry } from './registry.ts';

export interface OciRegistryOptions {
  readonly client: OciClient;
  /** Who the pushes of `publish` are recorded for. */
  readonly pusher: string;
  /** Told of every tag that was published. */
  readonly onPush: (push: Push) => Promise<void>;
}

/** Any registry that speaks the OCI protocol, the embedded one included. */
export class OciRegistry implements Registry {
  readonly #client: OciClient;
  readonly #pusher: string;
  readonly #onPush: (push: Push) => Promise<void>;

  constructor({ client, pusher, onPush }: OciRegistryOptions) {
    this.#client = client;
    this.#pusher = pusher;
    this.#onPush = onPush;
  }

  async publish(publication: Publication, signal: AbortSignal): Promise<void> {
    const { repository, digest, tags } = publication;
    const { mediaType } = await publish(this.#client, publication, signal);
    for (const tag of tags) await this.#onPush({ repository, tag, digest, mediaType, pusher: this.#pusher });
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
