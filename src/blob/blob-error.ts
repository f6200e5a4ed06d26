import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-key: the key breaks the rules of BlobStore
 * - too-large: more bytes came than the caller allowed
 * - disk-full: no room; nothing was stored
 * - unavailable: the store cannot be reached or written
 * - interrupted: the source failed or was cut off before its end; nothing was stored
 * - refused: the store knows the credentials not, or lets them not do this
 * - no-bucket: there is no such bucket, or it is in another region
 * - throttled: the store asks for patience, also after some tries
 */
export type BlobErrorCode =
  | 'bad-key'
  | 'too-large'
  | 'disk-full'
  | 'unavailable'
  | 'interrupted'
  | 'refused'
  | 'no-bucket'
  | 'throttled';

export class BlobError extends CodedError<BlobErrorCode> {}
