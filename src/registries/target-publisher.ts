import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/coded-error.ts';
import type { EgressGuard } from '../egress/egress-guard.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { Tag } from '../model/tag.ts';
import { copyImage } from '../registry/copy-image.ts';
import type { OciClient } from '../registry/oci-client.ts';
import type { Publication } from '../registry/registry.ts';
import { RegistryError, type RegistryErrorCode } from '../registry/registry-error.ts';
import type { Credentials, Registries, Target } from './external-registry.ts';
import { guardedClient } from './guarded-client.ts';

export interface TargetPublisherOptions {
  readonly registries: Registries;
  /** The embedded registry, where finished images are. */
  readonly source: OciClient;
  readonly egress: EgressGuard;
  readonly clock: Clock;
}

export type Publishing =
  | { readonly kind: 'published'; readonly references: readonly string[] }
  | { readonly kind: 'refused' | 'failed'; readonly message: string; readonly written: readonly Tag[] };

/** Copies finished images from the embedded registry to where their repositories publish. */
export class TargetPublisher {
  readonly #options: TargetPublisherOptions;

  constructor(options: TargetPublisherOptions) {
    this.#options = options;
  }

  /**
   * Everything is read anew each time, so that a try after a failure goes by what was mended meanwhile. `still` is
   * asked before each step. Undefined: the repository has no target. Throws what `still` does and the signal's reason.
   */
  async publish(
    repository: RepositoryName,
    publication: Publication,
    still: (written: readonly Tag[]) => Promise<void>,
    signal: AbortSignal,
  ): Promise<Publishing | undefined> {
    const { registries } = this.#options;
    const written: Tag[] = [];
    let target: Target | undefined;
    try {
      target = await registries.target(repository);
      if (target === undefined) return undefined;
      const credentials = await registries.open(target.registry);
      if (credentials === undefined || !credentials.registry.push) return notForPushes(target, written);
      await this.#copy(credentials, target, { publication, written, still }, signal);
      const { path } = target;
      const { host } = credentials.registry;
      return { kind: 'published', references: publication.tags.map((tag) => `${host}/${path}:${tag}`) };
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof CodedError)) throw error;
      const refused = error instanceof RegistryError && isRefusal[error.code];
      return {
        kind: refused ? 'refused' : 'failed',
        message: refused && target !== undefined ? explain(error, target) : error.message,
        written,
      };
    }
  }

  async #copy(
    credentials: Credentials,
    { registry, path }: Target,
    {
      publication: { repository: from, digest, tags },
      written,
      still,
    }: { publication: Publication; written: Tag[]; still: (written: readonly Tag[]) => Promise<void> },
    signal: AbortSignal,
  ): Promise<void> {
    const client = guardedClient(credentials, this.#options);
    try {
      await copyImage(
        {
          source: this.#options.source,
          target: client,
          from,
          to: path,
          digest,
          tags,
          siblings: await this.#options.registries.siblings(registry, path),
          still: () => still(written),
          onTag: (tag) => written.push(tag),
        },
        signal,
      );
    } finally {
      client.close();
    }
  }
}

/** Whether a later try would be answered the same unless a person changes something. */
const isRefusal: Readonly<Record<RegistryErrorCode, boolean>> = {
  unauthorized: true,
  denied: true,
  tls: true,
  'too-large': true,
  invalid: true,
  unsupported: true,
  forbidden: true,
  'name-unknown': true,
  // Of its own making while others push or clean up there.
  'manifest-unknown': false,
  'blob-unknown': false,
  'digest-mismatch': false,
  'rate-limited': false,
  unavailable: false,
};

function explain(error: RegistryError, { registry, path }: Target): string {
  const check = `slipway registry test ${formatRepositoryName(registry)}`;
  const about =
    error.code === 'unauthorized' || error.code === 'denied'
      ? `The registry "${registry.name}" (${registry.host}) refused the image for ${path}; check its credentials with: ${check}.`
      : `The registry "${registry.name}" (${registry.host}) did not take the image for ${path}; see: ${check}.`;
  return `${about} It said: ${error.message}`;
}

function notForPushes({ registry }: Target, written: readonly Tag[]): Publishing {
  return {
    kind: 'refused',
    message: `The registry "${registry.name}" is for pulls alone. Let it be for push as well, or give the repository another target.`,
    written,
  };
}
