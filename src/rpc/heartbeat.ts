import { type CallContext, stream } from './calls.ts';
import type { HeartbeatRequest, HeartbeatResponse } from './generated/buildman.ts';

/** Each sign of life is answered; a cancel is also told unasked, as soon as the manager knows of it. */
export function heartbeat(context: CallContext) {
  return stream<HeartbeatRequest, HeartbeatResponse>('Heartbeat', context, (push) => {
    let unsubscribe: (() => void) | undefined;
    return {
      async answer({ jobJwt }) {
        const identity = await context.tokens.verify(jobJwt, 'build_job_token');
        const { alive, cancel } = await context.sessions.heartbeat(identity);
        unsubscribe ??= context.sessions.onCancel(identity, () => push({ reply: true, cancel: true }));
        return { reply: alive, cancel };
      },
      closed: () => unsubscribe?.(),
    };
  });
}
