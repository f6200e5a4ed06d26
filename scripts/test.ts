/**
 * `npm test [STAGE...]`: installs what the tests need and runs the stages check, unit, integration, faults, scenarios and
 * kubernetes (or those named). The last one builds a Kubernetes when it is named, else it runs where that has been built.
 * Ends with a table and the line `N passed, N failed` (skipped ones are told on the line before); the status is 0 only when
 * nothing failed and every stage ran a test, but for kubernetes where it cannot.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { messageOf } from '../src/base/coded-error.ts';
import { buildPackages, testPackages } from '../src/setup/package-list.ts';
import { ensurePackages } from '../src/setup/packages.ts';
import { buildBinaries, findBinaries } from '../test/kubernetes/binaries.ts';
import { startServices } from '../test/services/environment.ts';
import { type Counts, countResults } from './test-counts.ts';

const root = dirname(import.meta.dirname);
const stages = ['check', 'unit', 'integration', 'faults', 'scenarios', 'kubernetes'] as const;
type Stage = (typeof stages)[number];

/** Those that need packages, PostgreSQL and Redis. */
const withServices: ReadonlySet<Stage> = new Set(['integration', 'faults', 'scenarios', 'kubernetes']);

/** A stage that takes longer hangs. */
const stageLimit = 30 * 60_000;

const stopping = new AbortController();
let running: ChildProcess | undefined;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!stopping.signal.aborted) say(`stopping (${signal})`);
    stopping.abort(new Error(`interrupted by ${signal}`));
    // On Ctrl-C the terminal told the child too; a second signal would make vitest leave its clean-up undone.
    if (signal !== 'SIGINT') running?.kill('SIGTERM');
  });
}

function say(line: string): void {
  console.log(`test: ${line}`);
}

/** Runs a script of ours or of a package; resolves with whether it succeeded. */
async function runNode(args: readonly string[]): Promise<boolean> {
  stopping.signal.throwIfAborted();
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  running = child;
  const limit = setTimeout(() => {
    say(`the stage took longer than ${stageLimit / 60_000} minutes and is ended`);
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), 20_000).unref();
  }, stageLimit);
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => resolve(status === 0));
    });
  } finally {
    clearTimeout(limit);
    running = undefined;
  }
}

async function runStage(stage: Stage, folder: string): Promise<Counts> {
  if (stage === 'check') {
    // Not a test: it counts only when it fails.
    const ok = await runNode(['--disable-warning=ExperimentalWarning', join(root, 'scripts/check.ts')]);
    return { passed: 0, failed: ok ? 0 : 1, skipped: 0 };
  }
  const results = join(folder, `${stage}.json`);
  const ok = await runNode([
    join(root, 'node_modules/vitest/vitest.mjs'),
    ...['run', '--project', stage, '--reporter=default', '--reporter=json', `--outputFile.json=${results}`],
  ]);
  return countResults(results, ok);
}

/** Why the stage cannot run here; undefined when it can. */
async function obstacle(stage: Stage, named: boolean): Promise<string | undefined> {
  if (stage !== 'kubernetes') return undefined;
  const binaries = named ? await buildBinaries({ report: say, signal: stopping.signal }) : findBinaries();
  return 'missing' in binaries ? binaries.missing : undefined;
}

async function prepare(wanted: readonly Stage[]): Promise<AsyncDisposable | undefined> {
  if (!wanted.some((stage) => withServices.has(stage))) return undefined;
  const proxies = Object.entries(process.env).filter(([name]) => /^(https?|no)_proxy$/i.test(name));
  await ensurePackages([...buildPackages, ...testPackages], {
    report: say,
    signal: stopping.signal,
    environment: Object.fromEntries(proxies.map(([name, value]) => [name, value ?? ''])),
  });
  say('starting PostgreSQL and Redis');
  return await startServices();
}

async function main(): Promise<number> {
  const named = process.argv.slice(2);
  const unknown = named.find((name) => !stages.some((stage) => stage === name));
  if (unknown !== undefined) {
    console.error(
      `There is no stage ${unknown}. Stages: ${stages.join(', ')}. One test: npm run vitest -- PATH`,
    );
    return 2;
  }
  const wanted = stages.filter((stage) => named.length === 0 || named.includes(stage));
  const folder = mkdtempSync(join(tmpdir(), 'slipway-test-results-'));
  const table: [string, Counts | string, number][] = [];
  let services: AsyncDisposable | undefined;
  try {
    for (const stage of wanted) {
      const start = Date.now();
      let counts: Counts | string;
      try {
        const why = await obstacle(stage, named.includes(stage));
        if (why !== undefined) {
          table.push([stage, why, 0]);
          continue;
        }
        if (withServices.has(stage)) services ??= await prepare(wanted);
        say(`stage ${stage}`);
        counts = await runStage(stage, folder);
      } catch (thrown) {
        console.error(messageOf(thrown));
        counts = { passed: 0, failed: 1, skipped: 0 };
      }
      table.push([stage, counts, Date.now() - start]);
    }
  } finally {
    await services?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }

  const total = { passed: 0, failed: 0, skipped: 0 };
  console.log('');
  for (const [stage, result, milliseconds] of table) {
    if (typeof result === 'string') {
      console.log(`${stage.padEnd(12)} not run: ${result}`);
      continue;
    }
    const { passed, failed, skipped } = result;
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
    const counts =
      stage === 'check'
        ? failed === 0
          ? 'ok'
          : 'failed'
        : `${passed} passed, ${failed} failed, ${skipped} skipped`;
    console.log(`${stage.padEnd(12)} ${counts}  (${(milliseconds / 1000).toFixed(1)} s)`);
  }
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
