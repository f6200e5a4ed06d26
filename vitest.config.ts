import { defineConfig } from 'vitest/config';

/**
 * Three projects: `unit` needs nothing but Node.js, `integration` real servers and engines, `scenarios` whole
 * builds. The latter two run one file at a time, because what they measure against shares one machine.
 */
const never = ['**/node_modules/**', '**/fixtures/**'];
const withServices = { globalSetup: ['test/services/global-setup.ts'], fileParallelism: false };

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'scripts/**/*.test.ts'],
          exclude: [...never, '**/*.integration.test.ts'],
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
          exclude: [...never, 'test/scenarios/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          ...withServices,
        },
      },
      {
        test: {
          name: 'scenarios',
          include: ['test/scenarios/**/*.test.ts', 'test/scenarios.test.ts'],
          exclude: never,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          ...withServices,
        },
      },
    ],
  },
});
