import type { Database } from '../db/database.ts';
import { type Digest, parseDigest } from '../model/digest.ts';
import type { OciClient } from './oci-client.ts';
import { parseManifest } from './oci-manifest.ts';
import { isAbsent, RegistryError } from './registry-error.ts';

/** Manifests that one step removes. */
const atOnce = 20;
/** Entries of one index that are looked at. */
const mostEntries = 1_000;

/**
 * Removes all images of a repository from the embedded registry: those with a tag, and those that were pushed without one
 * or have lost it. Steps may be repeated, by anybody, at any time.
 */
export class ImageRemoval {
  readonly #client: OciClient;
  readonly #database: Database;

  constructor({ client, database }: { readonly client: OciClient; readonly database: Database }) {
    this.#client = client;
    this.#database = database;
  }

  /** Whether any of a repository were pushed that were not removed. Asks the database only. */
  async areKnown(repository: string): Promise<boolean> {
    const { sql } = this.#database;
    const row = await sql
      .selectFrom('registry_manifests')
      .select('repository')
      .where('repository', '=', repository)
      .union(sql.selectFrom('registry_pushes').select('repository').where('repository', '=', repository))
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Removes some of them. False: there was nothing left to remove. Throws RegistryError. */
  async step(repository: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#removeTagged(repository, signal)) || (await this.#removeKnown(repository, signal));
  }

  async #removeTagged(repository: string, signal: AbortSignal): Promise<boolean> {
    const digests = new Set<Digest>();
    for (const tag of await this.#client.listTags(repository, signal)) {
      // A tag may outlive its manifest; it leads nowhere then.
      const found = await this.#client.headManifest(repository, tag, signal);
      if (found !== undefined) digests.add(found.digest);
      if (digests.size === atOnce) break;
    }
    for (const digest of digests) await this.#removeWhole(repository, digest, signal);
    return digests.size > 0;
  }

  async #removeKnown(repository: string, signal: AbortSignal): Promise<boolean> {
    const { sql } = this.#database;
    const rows = await sql
      .selectFrom('registry_manifests')
      .select('digest')
      .where('repository', '=', repository)
      .limit(atOnce)
      .execute();
    for (const row of rows) {
      const digest = parseDigest(row.digest);
      if (digest !== undefined) await this.#removeWhole(repository, digest, signal);
      await sql
        .deleteFrom('registry_manifests')
        .where('repository', '=', repository)
        .where('digest', '=', row.digest)
        .execute();
    }
    await sql.deleteFrom('registry_pushes').where('repository', '=', repository).execute();
    return rows.length > 0;
  }

  /** What an index names becomes known first, so that later steps remove it, whatever becomes of this one. */
  async #removeWhole(repository: string, digest: Digest, signal: AbortSignal): Promise<void> {
    const entries = await this.#entries(repository, digest, signal);
    if (entries.length > 0)
      await this.#database.sql
        .insertInto('registry_manifests')
        .values(entries.map((entry) => ({ repository, digest: entry })))
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    await this.#client.deleteManifest(repository, digest, signal);
  }

  async #entries(repository: string, digest: Digest, signal: AbortSignal): Promise<readonly Digest[]> {
    try {
      const manifest = parseManifest(await this.#client.getManifest(repository, digest, signal));
      if (manifest.kind === 'image') return [];
      return [...new Set(manifest.manifests.map((entry) => entry.digest))].slice(0, mostEntries);
    } catch (error) {
      // What cannot be read is removed all the same.
      if (isAbsent(error) || (error instanceof RegistryError && error.code === 'invalid')) return [];
      throw error;
    }
  }
}
