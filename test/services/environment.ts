import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import type { TestService } from './service.ts';

/**
 * Starts the services whose address is not in the environment yet and puts it there, where tests read it:
 * SLIPWAY_TEST_POSTGRES, SLIPWAY_TEST_REDIS. Called by the test command once for all stages, and by vitest's
 * global set-up, which then finds them running or, when vitest was started by hand, starts them itself.
 */
export async function startServices(): Promise<AsyncDisposable> {
  const started: [string, TestService][] = [];
  const stop = async (): Promise<void> => {
    for (const [variable, service] of started.splice(0).reverse()) {
      delete process.env[variable];
      await service[Symbol.asyncDispose]();
    }
  };
  try {
    for (const [variable, start] of [
      ['SLIPWAY_TEST_POSTGRES', startPostgres],
      ['SLIPWAY_TEST_REDIS', startRedis],
    ] as const) {
      if (process.env[variable] !== undefined) continue;
      const service = await start();
      started.push([variable, service]);
      process.env[variable] = service.url;
    }
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return { [Symbol.asyncDispose]: stop };
}
