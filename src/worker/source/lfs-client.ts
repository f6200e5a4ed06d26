import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { EgressError } from '../../egress/egress-error.ts';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import { type EgressRequest, type EgressResponse, egressRequest } from '../../egress/egress-request.ts';
import { checkGitHost } from '../../egress/git-url.ts';
import { redactUrl } from '../../model/redact-url.ts';
import { type LfsObject, messageIn, parseBatch } from './lfs-answer.ts';
import type { LfsPointer } from './lfs-pointer.ts';
import { SourceError } from './source-error.ts';

export interface LfsClientOptions {
  /** The LFS server, without a slash at its end. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly guard: EgressGuard;
  readonly signal: AbortSignal;
  readonly idleTimeout: number;
}

const mediaType = 'application/vnd.git-lfs+json';
const longestAnswer = 8 << 20;
/** For all of one object; the whole fetch has a limit of its own. */
const downloadTimeout = 15 * 60_000;

/**
 * Downloads from a server of Git LFS by its batch API and the transfer "basic". Every URL, those the server gives too, goes
 * through the guard. Throws SourceError `gitfailure`, and EgressError `cancelled`.
 */
export class LfsClient {
  readonly #options: LfsClientOptions;

  constructor(options: LfsClientOptions) {
    this.#options = options;
  }

  /** Asks where objects are. */
  async locate(pointers: readonly LfsPointer[]): Promise<ReadonlyMap<string, LfsObject>> {
    const { server, headers } = this.#options;
    const response = await this.#request(`${server}/objects/batch`, {
      method: 'POST',
      headers: { accept: mediaType, 'content-type': mediaType, ...headers },
      body: JSON.stringify({
        operation: 'download',
        transfers: ['basic'],
        hash_algo: 'sha256',
        objects: pointers.map(({ oid, size }) => ({ oid, size })),
      }),
      maxBytes: longestAnswer,
      timeout: 60_000,
      accepts: () => true,
    });
    const answer = await translated(() => text(response.body));
    if (response.status === 401 || response.status === 403)
      throw lfsError(
        `${redactUrl(server)} lets nobody in without credentials (${response.status}). Give the build a token for it.`,
      );
    if (response.status !== 200)
      throw lfsError(`${redactUrl(server)} answered ${response.status}: ${messageIn(answer)}.`);
    const objects = parseBatch(answer);
    if (objects === undefined)
      throw lfsError(`What answers at ${redactUrl(server)} does not speak the batch API of Git LFS.`);
    return new Map(objects.map((object) => [object.oid, object]));
  }

  /** Writes one object to a new file, and makes sure that it is the one. */
  async download(pointer: LfsPointer, object: LfsObject | undefined, file: string): Promise<void> {
    const { oid, size } = pointer;
    if (object === undefined || 'error' in object) {
      const why = object === undefined ? 'the server does not mention it' : object.error;
      throw lfsError(`the object ${oid} is not to be had: ${why}. Push it with: git lfs push --all`);
    }
    const { href, headers, authenticated } = object;
    const { server } = this.#options;
    const sameOrigin = URL.canParse(href) && new URL(href).origin === new URL(server).origin;
    // An answer without headers of its own means ours, at the same server; another one gets only what it was promised.
    const own = sameOrigin && !authenticated && headers.authorization === undefined;
    const response = await this.#request(href, {
      headers: { ...(own ? this.#options.headers : {}), ...headers },
      maxBytes: size,
      timeout: downloadTimeout,
    });
    const hash = createHash('sha256');
    let received = 0;
    response.body.on('data', (chunk: Buffer) => {
      received += chunk.length;
      hash.update(chunk);
    });
    await translated(() => pipeline(response.body, createWriteStream(file, { flags: 'wx', mode: 0o600 })));
    if (received !== size || hash.digest('hex') !== oid)
      throw lfsError(`${redactUrl(href)} gave other bytes than those of the object ${oid}.`);
  }

  async #request(url: string, request: EgressRequest): Promise<EgressResponse> {
    const { guard, signal, idleTimeout } = this.#options;
    return await translated(async () => {
      const { protocol, hostname, port } = guard.checkUrl(url);
      const scheme = protocol === 'http:' ? 'http' : 'https';
      const usual = scheme === 'http' ? 80 : 443;
      await checkGitHost(guard, { scheme, host: hostname, port: port === '' ? usual : Number(port) }, signal);
      return await egressRequest(guard, url, { ...request, signal, idleTimeout });
    });
  }
}

export function lfsError(why: string, cause?: unknown): SourceError {
  return new SourceError(
    'gitfailure',
    `Could not clone git repository: its files in Git LFS cannot be fetched: ${why}`,
    cause,
  );
}

async function translated<Result>(run: () => Promise<Result>): Promise<Result> {
  try {
    return await run();
  } catch (error) {
    throw error instanceof EgressError && error.code !== 'cancelled' ? lfsError(error.message, error) : error;
  }
}
