import type { WorkerStatus } from '../executor/executor.ts';
import { Masker } from '../log/mask.ts';
import type { Unspeakable } from './worker-sessions.ts';

type Gone = Extract<WorkerStatus, { kind: 'gone' }>;

/** Executors keep the end of what a worker printed, cut anywhere: an output as long as this may begin in a token. */
const mayBeCut = 4_000;

/**
 * What an executor says of a worker that ended, fit to be shown. Whatever the executor: a worker prints what it likes, its
 * environment with its token for one thing, and what is said here gets into the build's fault and its log.
 */
export function withoutSecrets(status: Gone, unspeakable: Unspeakable): Gone {
  const { output } = status;
  const masked = (text: string): string => {
    const masker = new Masker(unspeakable);
    return Buffer.concat([masker.write(Buffer.from(text)), masker.flush()]).toString();
  };
  return {
    ...status,
    reason: masked(status.reason),
    ...(output === undefined ? {} : { output: masked(withoutCutWord(output)) }),
  };
}

function withoutCutWord(output: string): string {
  return output.length < mayBeCut ? output : output.replace(/^\S+/, '***');
}
