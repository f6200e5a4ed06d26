import { packToWire } from './build-pack.ts';
import { type CallContext, unary } from './calls.ts';
import type { BuildJobArgs, BuildPack } from './generated/buildman.ts';

/** Beyond the time an attempt may take: the last phase is reported, and clocks differ. */
const leewaySeconds = 300;

export function registerBuildJob(context: CallContext) {
  return unary<BuildJobArgs, BuildPack>(
    'RegisterBuildJob',
    context,
    async ({ registerJwt, capabilities }) => {
      const identity = await context.tokens.verify(registerJwt, 'build_job_registration');
      const pack = await context.sessions.register(identity, capabilities);
      const lifetime = pack.maxSeconds + leewaySeconds;
      return packToWire(pack, await context.tokens.sign('build_job_token', pack.identity, lifetime));
    },
  );
}
