import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-key: the key breaks the rules of BlobStore
 * - too-large: more bytes came than the caller allowed
 * - disk-full: no room; nothing was stored
 * - unavailable: the store cannot be reached or written
 * - interrupted: the source failed or was cut off before its end; nothing was stored
 */
export type BlobErrorCode = 'bad-key' | 'too-large' | 'disk-full' | 'unavailable' | 'interrupted';

export class BlobError extends CodedError<BlobErrorCode> {}
