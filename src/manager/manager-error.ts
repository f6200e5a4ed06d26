import { CodedError } from '../base/coded-error.ts';

/**
 * - source-missing: the build has no source that a worker could fetch
 * - pack-failed: what a worker needs could not be put together
 * - publish-failed: the tags could not be put on the image
 */
export type ManagerErrorCode = 'source-missing' | 'pack-failed' | 'publish-failed';

export class ManagerError extends CodedError<ManagerErrorCode> {}
