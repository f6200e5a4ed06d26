import { afterAll, beforeAll, describe } from 'vitest';
import { executorSuite } from '../../src/executor/executor.suite.ts';
import { findBinaries } from './binaries.ts';
import { Cluster } from './cluster.ts';

describe.skipIf('missing' in findBinaries())('executors of a real cluster', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start();
  }, 300_000);

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  describe.each(['kubernetesPodman', 'kubernetes'] as const)('%s', (type) => {
    executorSuite(async () => {
      const executor = cluster.executor({ settings: { type }, options: { maxWorkers: 3 } });
      // The API server takes no such pod.
      const broken = cluster.executor({ settings: { type, dnsPolicy: 'None' } });
      return {
        executor,
        broken,
        assertNothingLeft: async () => {
          await cluster.nothingLeft(executor);
          await cluster.nothingLeft(broken);
        },
        [Symbol.asyncDispose]: async () => {
          await executor.close();
          await broken.close();
        },
      };
    });
  });
});
