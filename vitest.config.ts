import { defineConfig } from 'vitest/config';

/**
 * Five projects: `unit` needs nothing but Node.js, `integration` real servers and engines, `faults` kills, freezes and
 * starves them, `scenarios` builds images, `kubernetes` has a control plane. The last three run one file at a time: what
 * they wait for is how soon something happens, or they load the machine by themselves.
 */
const never = ['**/node_modules/**', '**/fixtures/**'];
const withServices = {
  globalSetup: ['test/services/global-setup.ts'],
  testTimeout: 120_000,
  hookTimeout: 120_000,
};
const kubernetes = '**/*.kubernetes.test.ts';
const faults = ['test/faults/**/*.integration.test.ts', 'test/chaos/**/*.integration.test.ts'];

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'scripts/**/*.test.ts'],
          exclude: [...never, '**/*.integration.test.ts', kubernetes],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: [
            'src/**/*.integration.test.ts',
            'scripts/**/*.integration.test.ts',
            'test/**/*.integration.test.ts',
          ],
          exclude: [...never, ...faults, 'test/scenarios/**'],
          ...withServices,
        },
      },
      {
        test: { name: 'faults', include: faults, exclude: never, fileParallelism: false, ...withServices },
      },
      {
        test: {
          name: 'scenarios',
          include: ['test/scenarios/**/*.test.ts', 'test/scenarios.test.ts'],
          exclude: never,
          fileParallelism: false,
          ...withServices,
        },
      },
      {
        test: {
          name: 'kubernetes',
          include: [kubernetes],
          exclude: never,
          fileParallelism: false,
          ...withServices,
        },
      },
    ],
  },
});
