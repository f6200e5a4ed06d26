import { CodedError, messageOf } from '../../base/coded-error.ts';
import { type FaultOwner, ownerOf } from '../../model/fault.ts';

/**
 * How fetching the source fails; the meanings are those of the fault table, which also says whose fault each is.
 * `cancelled` is nobody's: the caller's AbortSignal fired.
 */
export type SourceErrorCode =
  | 'gitfailure'
  | 'gitcheckout'
  | 'cannotextractbuildpack'
  | 'archivefetch'
  | 'packagefetch'
  | 'sourcetoolarge'
  | 'contextmissing'
  | 'dockerfilemissing'
  | 'dockerfileissue'
  | 'diskfull'
  | 'internalerror'
  | 'cancelled';

/** Why the source of a build cannot be had. The message holds no secret: it is shown to the owner of the build. */
export class SourceError extends CodedError<SourceErrorCode> {
  /** Whose fault it is; undefined for a cancel. */
  get owner(): FaultOwner | undefined {
    return this.code === 'cancelled' ? undefined : ownerOf(this.code);
  }
}

/** The errno-style code of a system error, such as `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** Translates what the file system threw while the workspace was written. `doing` reads like "write a/b". */
export function fromFileSystem(error: unknown, doing: string): SourceError {
  if (error instanceof SourceError) return error;
  switch (systemCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new SourceError(
        'diskfull',
        `The worker could not ${doing}: no room is left on its disk. Free some and build again.`,
        error,
      );
    case 'ENAMETOOLONG':
      return new SourceError(
        'cannotextractbuildpack',
        `The worker could not ${doing}: the name is too long. Shorten it.`,
        error,
      );
    default:
      return new SourceError('internalerror', `The worker could not ${doing}: ${messageOf(error)}.`, error);
  }
}

export function cancelledError(cause?: unknown): SourceError {
  return new SourceError('cancelled', 'The build was cancelled while its source was fetched.', cause);
}
