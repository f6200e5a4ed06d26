import { type CallContext, unary } from './calls.ts';
import type { CachedTag, CachedTagRequest } from './generated/buildman.ts';

/** The base image in the request does not matter: the answer depends on the tags of the repository alone. */
export function determineCachedTag(context: CallContext) {
  return unary<CachedTagRequest, CachedTag>('DetermineCachedTag', context, async ({ jobJwt }) => {
    const identity = await context.tokens.verify(jobJwt, 'build_job_token');
    return { CachedTag: await context.sessions.cachedTag(identity) };
  });
}
