import type { LogRun } from '../log/log-store.ts';
import { type CallContext, stream } from './calls.ts';
import { type LogBatch, type LogBatchReply, LogType, type LogRun as WireRun } from './generated/buildman.ts';
import { countLines } from './log-message.ts';

/** Many lines a message, several messages under way; stored and answered in order, each before the next is read. */
export function logBatches(context: CallContext) {
  return stream<LogBatch, LogBatchReply>('LogBatches', context, () => {
    let token = '';
    let cancel = false;
    let unsubscribe: (() => void) | undefined;
    const identify = context.tokens.forStream('build_job_token');
    return {
      async answer({ jobJwt, sequenceNumber, runs }) {
        if (jobJwt !== '') token = jobJwt;
        // Also when the message leaves it out: the token may have expired since.
        const identity = await identify(token);
        unsubscribe ??= context.sessions.onCancel(identity, () => {
          cancel = true;
        });
        const verdict = await context.sessions.log(identity, sequenceNumber, runs.map(runFromWire));
        if (verdict.kind === 'gap') return { sequenceNumber: verdict.expected - 1, success: false, cancel };
        return { sequenceNumber, success: true, cancel };
      },
      closed: () => unsubscribe?.(),
    };
  });
}

/** The worker's count is not taken: positions in the log depend on it. */
function runFromWire({ text, type, time, partial }: WireRun): LogRun {
  const count = countLines(text);
  return {
    text,
    count,
    ...(type === LogType.COMMAND
      ? { type: 'command' }
      : type === LogType.ERROR_LINE
        ? { type: 'error' }
        : {}),
    time,
    ...(partial && count === 1 ? { partial: true } : {}),
  };
}

export function runToWire({ text, count, type, time, partial }: LogRun): WireRun {
  return {
    text: Buffer.isBuffer(text) ? text : Buffer.from(text.buffer, text.byteOffset, text.byteLength),
    count,
    type: type === 'command' ? LogType.COMMAND : type === 'error' ? LogType.ERROR_LINE : LogType.OUTPUT,
    time,
    partial: partial ?? false,
  };
}
