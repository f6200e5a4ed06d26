import { CodedError } from '../base/coded-error.ts';

/**
 * - source-missing: the build has no source that a worker could fetch
 * - publish-failed: the tags could not be put on the image
 * - target-refused: the registry of the repository refused the image
 * - target-unreachable: the registry of the repository did not take the image in all tries
 */
export type ManagerErrorCode = 'source-missing' | 'publish-failed' | 'target-refused' | 'target-unreachable';

export class ManagerError extends CodedError<ManagerErrorCode> {}
