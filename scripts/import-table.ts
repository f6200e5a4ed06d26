import { cruise, type ICruiseResult, type IForbiddenRuleType } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';

/** One row of the table *folder | meaning | may import* in ARCHITECTURE.md. Entries are folders or single files under src/. */
export interface ImportRow {
  readonly folder: string;
  readonly mayImport: readonly string[];
}

/** Reads the rows below the heading line `| folder | meaning | may import |`. Throws when there is no such table. */
export function parseImportTable(markdown: string): ImportRow[] {
  const lines = markdown.split('\n');
  const head = lines.findIndex((line) => /^\|\s*folder\s*\|\s*meaning\s*\|\s*may import\s*\|/.test(line));
  if (head < 0) throw new Error('ARCHITECTURE.md has no table | folder | meaning | may import |');
  const rows: ImportRow[] = [];
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith('|')) break;
    const [folder, , allowed] = line
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    const name = /^`(.+)\/`$/.exec(folder ?? '')?.[1];
    if (name === undefined || allowed === undefined) {
      throw new Error(`ARCHITECTURE.md: a row of the import table must begin with \`folder/\`: ${line}`);
    }
    rows.push({
      folder: name,
      mayImport: [...allowed.matchAll(/`([^`]+?)\/?`/g)].map((match) => match[1] ?? ''),
    });
  }
  return rows;
}

/** What is wrong with the table itself: folders it lacks or that do not exist, and circles between folders. */
export function tableFaults(
  rows: readonly ImportRow[],
  folders: readonly string[],
  files: ReadonlySet<string>,
): string[] {
  const faults: string[] = [];
  const known = new Map(rows.map((row) => [row.folder, row]));
  for (const folder of folders)
    if (!known.has(folder)) faults.push(`src/${folder}/ is not in the import table`);
  for (const { folder, mayImport } of rows) {
    if (!folders.includes(folder)) faults.push(`the import table names src/${folder}/, which does not exist`);
    for (const entry of mayImport) {
      const exists = entry.endsWith('.ts') ? files.has(entry) : known.has(entry);
      if (!exists) faults.push(`the import table lets ${folder}/ import ${entry}, which does not exist`);
    }
  }
  const done = new Set<string>();
  const visit = (folder: string, path: readonly string[]): void => {
    const start = path.indexOf(folder);
    if (start >= 0) {
      faults.push(`the import table has a circle: ${[...path.slice(start), folder].join(' → ')}`);
      return;
    }
    if (done.has(folder)) return;
    for (const entry of known.get(folder)?.mayImport ?? []) {
      const target = entry.split('/')[0] ?? entry;
      if (target !== folder) visit(target, [...path, folder]);
    }
    done.add(folder);
  };
  for (const { folder } of rows) visit(folder, []);
  return faults;
}

// Tests may reach further than what they test: they put real parts together.
const testFile = '\\.(test|suite)\\.ts$';
const escapePattern = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** The table as dependency-cruiser rules, with the rules that hold for every folder. */
export function rulesOf(rows: readonly ImportRow[]): IForbiddenRuleType[] {
  const rules = rows.map(({ folder, mayImport }): IForbiddenRuleType => {
    const allowed = [folder, ...mayImport].map((entry) =>
      entry.endsWith('.ts') ? `${escapePattern(entry)}$` : `${escapePattern(entry)}/`,
    );
    return {
      name: `${folder} may import only what the table says`,
      severity: 'error',
      from: { path: `^src/${escapePattern(folder)}/`, pathNot: testFile },
      to: { path: '^(src|test|scripts|bench)/', pathNot: `^src/(${allowed.join('|')})` },
    };
  });
  return [
    ...rules,
    { name: 'no circle between files', severity: 'error', from: { path: '^src/' }, to: { circular: true } },
    { name: 'every import is found', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'product code does not import tests',
      severity: 'error',
      from: { path: '^src/', pathNot: testFile },
      to: { path: testFile },
    },
    {
      name: 'product code does not need development packages',
      severity: 'error',
      from: { path: '^src/', pathNot: testFile },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm'] },
    },
  ];
}

/** Cruises the given folders below `root`; returns one line per violation and how many modules were seen. */
export async function cruiseImports(
  root: string,
  paths: readonly string[],
  rows: readonly ImportRow[],
): Promise<{ modules: number; faults: string[] }> {
  const { output } = await cruise(
    [...paths],
    {
      baseDir: root,
      ruleSet: { forbidden: rulesOf(rows) },
      validate: true,
      tsPreCompilationDeps: true,
      doNotFollow: { path: 'node_modules' },
      exclude: { path: '(^|/)(node_modules|fixtures)/|^test/scenarios/.*/' },
    },
    {
      extensions: ['.ts', '.js', '.mjs', '.d.ts'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types'],
    },
    { tsConfig: extractTSConfig(`${root}/tsconfig.json`) },
  );
  const { summary, modules } = output as ICruiseResult;
  return {
    modules: modules.filter(({ source }) => source.startsWith('src/')).length,
    faults: summary.violations.map(({ rule, from, to, cycle }) =>
      cycle === undefined
        ? `${from} → ${to}: ${rule.name}`
        : `${from} → ${cycle.map((step) => step.name).join(' → ')}: ${rule.name}`,
    ),
  };
}
