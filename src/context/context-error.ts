import { CodedError } from '../base/coded-error.ts';

/**
 * | code            | meaning                                                          |
 * |-----------------|------------------------------------------------------------------|
 * | bad-path        | a Dockerfile path, subdirectory or context that cannot be meant   |
 * | bad-ignore-file | a pattern in an ignore file that cannot be read                   |
 * | not-found       | the context folder or the Dockerfile is not there                 |
 * | unreadable      | a file of the context cannot be read                              |
 * | changed         | a file became shorter while it was packed                         |
 * | cancelled       | the caller's signal fired                                         |
 */
export type ContextErrorCode =
  | 'bad-path'
  | 'bad-ignore-file'
  | 'not-found'
  | 'unreadable'
  | 'changed'
  | 'cancelled';

/** What is wrong with a build context or with the words that name it. Always something its owner can put right. */
export class ContextError extends CodedError<ContextErrorCode> {}
