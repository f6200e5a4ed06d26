import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { cruiseImports, parseImportTable, tableFaults } from './import-table.ts';

const table = `
| folder | meaning | may import |
|---|---|---|
| \`base/\` | ground | |
| \`queue/\` | queue | \`base/\` |
| \`manager/\` | moves | \`base/\` \`queue/queue.ts\` |

after
`;
const rows = parseImportTable(table);

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'slipway-imports-'));
  writeFileSync(
    join(root, 'tsconfig.json'),
    '{"compilerOptions":{"module":"nodenext","allowImportingTsExtensions":true,"noEmit":true}}',
  );
  write('base/base.ts', 'export interface Base { readonly a: 1 }\n');
  write(
    'queue/queue.ts',
    "import type { Base } from '../base/base.ts';\nexport interface Queue extends Base {}\n",
  );
  write(
    'queue/sqlite.ts',
    "import type { Queue } from './queue.ts';\nexport const sqlite: Queue = { a: 1 };\n",
  );
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, 'src', path)), { recursive: true });
  writeFileSync(join(root, 'src', path), text);
}

test('reads folders and single files, and stops where the table ends', () => {
  expect(rows).toEqual([
    { folder: 'base', mayImport: [] },
    { folder: 'queue', mayImport: ['base'] },
    { folder: 'manager', mayImport: ['base', 'queue/queue.ts'] },
  ]);
  expect(() => parseImportTable('# nothing')).toThrow();
});

test('a table names every folder, only what exists, and has no circle', () => {
  const files = new Set(['queue/queue.ts']);
  expect(tableFaults(rows, ['base', 'queue', 'manager'], files)).toEqual([]);
  expect(tableFaults(rows, ['base', 'queue', 'manager', 'new'], files)).toHaveLength(1);
  expect(tableFaults(rows, ['base', 'queue'], files)).toHaveLength(1);
  expect(tableFaults(rows, ['base', 'queue', 'manager'], new Set())).toHaveLength(1);
  const circle = [
    ...rows.filter(({ folder }) => folder !== 'base'),
    { folder: 'base', mayImport: ['manager'] },
  ];
  expect(tableFaults(circle, ['base', 'queue', 'manager'], files).join()).toContain('circle');
});

test('the interface that is named may be imported', async () => {
  write('manager/manager.ts', "import type { Queue } from '../queue/queue.ts';\nexport type M = Queue;\n");
  const { modules, faults } = await cruiseImports(root, ['src'], rows);
  expect(faults).toEqual([]);
  expect(modules).toBe(4);
});

test('what the table does not name may not, not even for a type; tests may', async () => {
  write(
    'manager/manager.ts',
    "import type { sqlite } from '../queue/sqlite.ts';\nexport type M = typeof sqlite;\n",
  );
  write(
    'manager/manager.test.ts',
    "import { sqlite } from '../queue/sqlite.ts';\nexport const s = sqlite;\n",
  );
  const { faults } = await cruiseImports(root, ['src'], rows);
  expect(faults).toEqual([expect.stringContaining('src/manager/manager.ts → src/queue/sqlite.ts')]);
});

test('files may not import each other in a circle', async () => {
  write('base/one.ts', "import { two } from './two.ts';\nexport const one = (): unknown => two;\n");
  write('base/two.ts', "import { one } from './one.ts';\nexport const two = (): unknown => one;\n");
  const { faults } = await cruiseImports(root, ['src'], rows);
  expect(faults.length).toBeGreaterThan(0);
  expect(faults.every((fault) => fault.includes('no circle between files'))).toBe(true);
});
