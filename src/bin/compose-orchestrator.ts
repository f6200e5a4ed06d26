import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { OrchestratorConfig } from '../config/config.ts';
import { MemoryOrchestrator } from '../orchestrator/memory-orchestrator.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';
import { RedisOrchestrator } from '../orchestrator/redis-orchestrator.ts';

export interface OrchestratorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Throws OrchestratorError when only a change of the configuration can help. */
export async function composeOrchestrator(
  config: OrchestratorConfig,
  { clock, logger }: OrchestratorOptions,
): Promise<Orchestrator> {
  if (config.provider === 'memory') return new MemoryOrchestrator({ clock });
  const { host, port, password, database, tls } = config.redis;
  return await RedisOrchestrator.open({
    server: {
      host,
      port,
      database,
      ...(password === undefined ? {} : { password: password.reveal() }),
      ...(tls === undefined
        ? {}
        : {
            tls: {
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
              ...(tls.certificate === undefined ? {} : { certificate: tls.certificate }),
            },
          }),
    },
    prefix: config.prefix,
    skipKeyspaceEventSetup: config.skipKeyspaceEventSetup,
    clock,
    onState: (state) => {
      if (state.kind === 'connected') logger.info({ host, port }, 'connected to Redis');
      else
        logger.warn({ host, port, err: state.error }, 'without Redis; builds go on, and it is tried again');
    },
    onWarning: (error) => logger.warn({ err: error }, 'Redis does not do all that was asked of it'),
  });
}
