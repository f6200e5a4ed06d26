import { type CallContext, unary } from './calls.ts';
import type { SetPhaseRequest, SetPhaseResponse } from './generated/buildman.ts';
import { reportFromWire } from './stage-report.ts';

/** A phase that means nothing to us, and one of WAITING, which no worker is in, are answered success=false. */
export function setPhase(context: CallContext) {
  return unary<SetPhaseRequest, SetPhaseResponse>('SetPhase', context, async (request) => {
    const { jobJwt, sequenceNumber } = request;
    const identity = await context.tokens.verify(jobJwt, 'build_job_token');
    const report = reportFromWire(request);
    const success =
      report !== undefined && (await context.sessions.setPhase(identity, sequenceNumber, report));
    return { success, sequenceNumber };
  });
}
