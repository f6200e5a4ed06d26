import { type FileHandle, open } from 'node:fs/promises';
import { backOff } from '../../base/back-off.ts';
import { type Clock, systemClock } from '../../base/clock.ts';
import { EgressError } from '../../egress/egress-error.ts';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import { egressRequest } from '../../egress/egress-request.ts';
import { cancelledError, fromFileSystem, SourceError } from './source-error.ts';

export interface FetchPackageOptions {
  readonly url: string;
  /** Whose server it is decides whose fault a failure is: `own` is ours, `user` an archive URL of the user. */
  readonly origin: 'own' | 'user';
  readonly guard: EgressGuard;
  /** Where the bytes go; made or overwritten. */
  readonly file: string;
  /** Default 10 GiB. */
  readonly maxBytes?: number;
  /** Milliseconds for one try. Default 15 min. */
  readonly timeout?: number;
  /** Milliseconds during which a server that is away is tried again. Default 60 s. */
  readonly patience?: number;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** Told before each wait, for the log. */
  readonly onRetry?: (reason: string, milliseconds: number) => void;
}

export interface FetchedPackage {
  readonly contentType: string | undefined;
  readonly bytes: number;
}

const defaultMaxBytes = 10 * 1024 ** 3;

/**
 * Downloads a package to a file. A server that is restarted meanwhile is waited for: connection errors, early
 * ends and 408, 429, 500, 502, 503, 504 are tried again, going on where the bytes ended when the server can (an
 * ETag or Last-Modified says it is still the same file). Throws SourceError.
 */
export async function fetchPackage(options: FetchPackageOptions): Promise<FetchedPackage> {
  const clock = options.clock ?? systemClock;
  const deadline = clock.now() + (options.patience ?? 60_000);
  const progress: Progress = { bytes: 0, validator: undefined, contentType: undefined };
  for (let attempt = 0; ; attempt++) {
    const before = progress.bytes;
    try {
      await fetchOnce(options, progress);
      return { contentType: progress.contentType, bytes: progress.bytes };
    } catch (error) {
      if (progress.bytes > before) attempt = 0;
      const wait = backOff(attempt, { first: 250, cap: 5_000 });
      if (!isPassing(error) || clock.now() + wait > deadline) throw translate(error, options);
      options.onRetry?.(error instanceof Error ? error.message : String(error), wait);
      try {
        await clock.sleep(wait, options.signal);
      } catch (reason) {
        throw cancelledError(reason);
      }
    }
  }
}

interface Progress {
  bytes: number;
  /** A strong ETag or a Last-Modified, by which the rest can be asked for. */
  validator: string | undefined;
  contentType: string | undefined;
}

async function fetchOnce(options: FetchPackageOptions, progress: Progress): Promise<void> {
  const maxBytes = options.maxBytes ?? defaultMaxBytes;
  const resume =
    progress.bytes > 0 && progress.validator !== undefined
      ? { range: `bytes=${progress.bytes}-`, 'if-range': progress.validator }
      : {};
  const response = await egressRequest(options.guard, options.url, {
    headers: resume,
    maxBytes,
    timeout: options.timeout ?? 15 * 60_000,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  const goesOn =
    response.status === 206 &&
    response.headers['content-range']?.startsWith(`bytes ${progress.bytes}-`) === true;
  if (response.status === 206 && !goesOn) {
    response.body.destroy();
    progress.validator = undefined;
    throw new EgressError('truncated', 'The server sent another part of the file than was asked for.');
  }
  if (!goesOn) {
    progress.bytes = 0;
    progress.contentType = response.headers['content-type'];
    const tag = response.headers.etag;
    progress.validator = tag !== undefined && !tag.startsWith('W/') ? tag : response.headers['last-modified'];
  }
  let handle: FileHandle | undefined;
  try {
    handle = await open(options.file, goesOn ? 'r+' : 'w', 0o600);
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      if (progress.bytes + chunk.length > maxBytes) {
        throw new EgressError(
          'too-large',
          `The source is larger than ${maxBytes} bytes, the most that is allowed.`,
        );
      }
      // Counted only once they are in the file: a later try goes on from here.
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await handle.write(chunk, at, chunk.length - at, progress.bytes);
        at += bytesWritten;
        progress.bytes += bytesWritten;
      }
    }
  } finally {
    response.body.destroy();
    await handle?.close();
  }
}

function isPassing(error: unknown): boolean {
  if (!(error instanceof EgressError)) return false;
  switch (error.code) {
    case 'unreachable':
    case 'truncated':
    case 'unresolved':
      return true;
    case 'status':
      return [408, 429, 500, 502, 503, 504].includes(error.status ?? 0);
    case 'bad-url':
    case 'forbidden':
    case 'redirects':
    case 'too-large':
    case 'too-slow':
    case 'cancelled':
      return false;
  }
}

function translate(error: unknown, { origin }: FetchPackageOptions): SourceError {
  if (!(error instanceof EgressError)) {
    return error instanceof SourceError ? error : fromFileSystem(error, 'store the source');
  }
  if (error.code === 'cancelled') return cancelledError(error);
  if (error.code === 'too-large') return new SourceError('sourcetoolarge', error.message, error);
  return origin === 'own'
    ? new SourceError(
        'packagefetch',
        `The worker could not fetch the source from Slipway. ${error.message}`,
        error,
      )
    : new SourceError('archivefetch', `The archive URL could not be downloaded. ${error.message}`, error);
}
