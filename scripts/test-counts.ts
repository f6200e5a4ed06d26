import { readFileSync } from 'node:fs';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Results {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/**
 * Counts what vitest's JSON report says. What went wrong outside of a test counts as a failure too: a file that
 * could not be loaded, a run without any test, an error nobody caught, a run that ended before its report.
 */
export function countResults(file: string, succeeded: boolean): Counts {
  let results: Results;
  try {
    results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const passed = results.numPassedTests;
  const skipped = results.numPendingTests + results.numTodoTests;
  const brokenFiles = results.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length;
  let failed = results.numFailedTests + brokenFiles;
  if (failed === 0 && (!succeeded || passed + skipped === 0)) failed = 1;
  return { passed, failed, skipped };
}
