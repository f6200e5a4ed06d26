/**
 * `npm run check`: format and lint, types, import table, environment, unused code. Every tool runs even when an
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

/** Only src/bin/ reads the environment and ends the process. (`process.env` itself is biome's rule.) */
function environment(): boolean {
  const forbidden = /\bprocess\.(exit|exitCode|abort)\b|import\s[^;]*\b(env|exit)\b[^;]*from 'node:process'/;
  const faults: string[] = [];
  for (const name of sourceFiles('src')) {
    if (name.startsWith('bin/') || /\.(test|suite)\.ts$/.test(name)) continue;
    readFileSync(join(root, 'src', name), 'utf8')
      .split('\n')
      .forEach((line, index) => {
        if (forbidden.test(line))
          faults.push(`src/${name}:${index + 1}: only src/bin/ may do this: ${line.trim()}`);
      });
  }
  return report(faults);
}

const tools: readonly (readonly [string, () => Promise<boolean> | boolean])[] = [
  ['format and lint', () => runTool('@biomejs/biome/bin/biome', ['check', '--error-on-warnings'])],
  ['types', () => runTool('typescript/bin/tsc', ['--noEmit', '-p', '.'])],
  ['import table', importTable],
  ['environment', environment],
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
