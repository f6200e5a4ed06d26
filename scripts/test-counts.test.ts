import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { countResults } from './test-counts.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-counts-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function report(
  passed: number,
  failed: number,
  pending: number,
  files: readonly (readonly [string, readonly string[]])[],
): string {
  const file = join(folder, 'results.json');
  const testResults = files.map(([status, tests]) => ({
    status,
    assertionResults: tests.map((outcome) => ({ status: outcome })),
  }));
  writeFileSync(
    file,
    JSON.stringify({
      numPassedTests: passed,
      numFailedTests: failed,
      numPendingTests: pending,
      numTodoTests: 0,
      testResults,
    }),
  );
  return file;
}

test('counts what the report says', () => {
  const file = report(3, 1, 2, [['failed', ['passed', 'failed']]]);
  expect(countResults(file, false)).toEqual({ passed: 3, failed: 1, skipped: 2 });
});

test('a file that could not be loaded is a failure', () => {
  const file = report(3, 0, 0, [
    ['passed', ['passed']],
    ['failed', []],
  ]);
  expect(countResults(file, false).failed).toBe(1);
});

test('so is an error outside of tests, a run without tests, and a run without a report', () => {
  expect(countResults(report(3, 0, 0, [['passed', ['passed']]]), false).failed).toBe(1);
  expect(countResults(report(0, 0, 0, []), true).failed).toBe(1);
  expect(countResults(join(folder, 'none.json'), false)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

test('a run in which all is well has none', () => {
  expect(countResults(report(3, 0, 0, [['passed', ['passed']]]), true).failed).toBe(0);
});
