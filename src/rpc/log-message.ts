import type { LogRun } from '../log/log-store.ts';
import { Masker } from '../log/mask.ts';
import { startsStep } from '../log/step-line.ts';
import type { WorkerIdentity } from '../manager/worker-sessions.ts';
import { type CallContext, stream } from './calls.ts';
import type { LogMessageRequest, LogMessageResponse } from './generated/buildman.ts';

/**
 * One log entry a message, from workers that know only the shared part of the protocol. They open the stream before
 * they have a token, so nothing is decided until the first message. They do not mask, so it is done here; what may be
 * the beginning of a secret is not held back for the next message, for its entry must be durable when it is answered.
 */
export function logMessage(context: CallContext) {
  return stream<LogMessageRequest, LogMessageResponse>('LogMessage', context, () => {
    let masking: { readonly attemptId: string; readonly masker: Masker } | undefined;
    const maskerFor = async (identity: WorkerIdentity): Promise<Masker> => {
      if (masking?.attemptId !== identity.attemptId) {
        masking = {
          attemptId: identity.attemptId,
          masker: new Masker(await context.sessions.secrets(identity)),
        };
      }
      return masking.masker;
    };
    const identify = context.tokens.forStream('build_job_token');
    return {
      async answer({ jobJwt, sequenceNumber, logMessage: message }) {
        const identity = await identify(jobJwt);
        const { text, error } = unwrap(message);
        const masker = await maskerFor(identity);
        const masked = Buffer.concat([masker.write(Buffer.from(text)), masker.settle()]);
        const verdict = await context.sessions.log(identity, sequenceNumber, [entry(masked, error)]);
        return { success: verdict.kind !== 'gap', sequenceNumber };
      },
    };
  });
}

/** What an engine's message says. Text that is no JSON object with one of these members is the line itself. */
export function unwrap(message: string): { readonly text: string; readonly error: boolean } {
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return { text: message, error: false };
  }
  if (typeof value !== 'object' || value === null) return { text: message, error: false };
  for (const member of ['error', 'status', 'stream'] as const) {
    const text = (value as Record<string, unknown>)[member];
    if (typeof text === 'string' && (text !== '' || member === 'stream')) {
      return { text, error: member === 'error' };
    }
  }
  return { text: message, error: false };
}

/** One entry of the log, also when it has several lines in it: its one type is that of its first line. */
function entry(bytes: Buffer, error: boolean): LogRun {
  const text = bytes.at(-1) === newline ? bytes.subarray(0, -1) : bytes;
  const firstEnd = text.indexOf(newline);
  const command = startsStep(text, 0, firstEnd < 0 ? text.length : firstEnd);
  return {
    text,
    count: countLines(text),
    ...(error ? { type: 'error' } : command ? { type: 'command' } : {}),
    time: Date.now(),
  };
}

export function countLines(text: Uint8Array): number {
  let count = 1;
  for (let at = text.indexOf(newline); at >= 0; at = text.indexOf(newline, at + 1)) count++;
  return count;
}

const newline = 10;
