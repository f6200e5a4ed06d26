/**
 * `npm run check`: format and lint, types, import table, environment, syntax, unused code. Every tool runs even when an
 * earlier one fails; each ends in one line `check: NAME ok` or `check: NAME failed`.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cruiseImports, parseImportTable, tableFaults } from './import-table.ts';

const root = dirname(import.meta.dirname);

function runTool(script: string, args: readonly string[]): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'node_modules', script), ...args], {
      cwd: root,
      stdio: 'inherit',
    });
    child.once('error', reject);
    child.once('exit', (status) => resolve(status === 0));
  });
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
}

function report(faults: readonly string[]): boolean {
  for (const fault of faults) console.error(fault);
  return faults.length === 0;
}

async function importTable(): Promise<boolean> {
  const rows = parseImportTable(readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8'));
  const folders = readdirSync(join(root, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && sourceFiles(`src/${entry.name}`).length > 0)
    .map((entry) => entry.name);
  const faults = tableFaults(rows, folders, new Set(sourceFiles('src')));
  const { modules, faults: violations } = await cruiseImports(root, ['src'], rows);
  // A cruise that saw nothing would pass everything.
  if (modules < folders.length)
    faults.push(`dependency-cruiser saw ${modules} modules in ${folders.length} folders`);
  return report([...faults, ...violations]);
}

/** Lines of the product's own files that a pattern finds. */
function linesWith(pattern: RegExp, why: string, exempt: (name: string) => boolean = () => false): string[] {
  return sourceFiles('src')
    .filter((name) => !/\.(test|suite|suite-worker)\.ts$/.test(name) && !exempt(name))
    .flatMap((name) =>
      readFileSync(join(root, 'src', name), 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          pattern.test(line) ? [`src/${name}:${index + 1}: ${why}: ${line.trim()}`] : [],
        ),
    );
}

/** Only src/bin/ reads the environment and ends the process. (`process.env` itself is biome's rule.) */
function environment(): boolean {
  const forbidden = /\bprocess\.(exit|exitCode|abort)\b|import\s[^;]*\b(env|exit)\b[^;]*from 'node:process'/;
  return report(linesWith(forbidden, 'only src/bin/ may do this', (name) => name.startsWith('bin/')));
}

/** The sources run as they are on Node.js 22, which does not know `using`; nothing translates them. */
function syntax(): boolean {
  return report(linesWith(/^\s*(await )?using \w+ =/, 'Node.js 22 cannot read this'));
}

const tools: readonly (readonly [string, () => Promise<boolean> | boolean])[] = [
  ['format and lint', () => runTool('@biomejs/biome/bin/biome', ['check', '--error-on-warnings'])],
  ['types', () => runTool('typescript/bin/tsc', ['--noEmit', '-p', '.'])],
  ['import table', importTable],
  ['environment', environment],
  ['syntax', syntax],
  ['unused code', () => runTool('knip/bin/knip.js', ['--no-progress'])],
];

for (const [name, run] of tools) {
  const passed = await Promise.resolve()
    .then(run)
    .catch((thrown: unknown) => {
      console.error(thrown);
      return false;
    });
  console.log(`check: ${name} ${passed ? 'ok' : 'failed'}`);
  if (!passed) process.exitCode = 1;
}
