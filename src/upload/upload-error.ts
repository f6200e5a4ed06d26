import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-signature: the URL was not made by this server, or was changed
 * - expired: the URL was good once
 * - unknown: there is no such upload, or it was removed because nobody used it
 * - already-stored: its bytes are there; an upload is written once
 * - not-stored: its bytes are not there yet
 * - forbidden: somebody else's
 * - not-current: the URL is of an attempt that is over, or that another one took the place of
 * - bad-type: not a media type
 * - too-many: the user has too many uploads that no build uses
 */
export type UploadErrorCode =
  | 'bad-signature'
  | 'expired'
  | 'unknown'
  | 'already-stored'
  | 'not-stored'
  | 'forbidden'
  | 'not-current'
  | 'bad-type'
  | 'too-many';

export class UploadError extends CodedError<UploadErrorCode> {}
