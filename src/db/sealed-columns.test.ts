import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { sealedColumnsSuite } from './sealed-columns.suite.ts';
import { allSealedColumns } from './sealed-columns.ts';

sealedColumnsSuite('SQLite', scratchMemory);

/** What they seal is in a browser for minutes, and nowhere at rest. */
const inBrowsers = ['login/external-logins.ts', 'login/login-memory.ts', 'trigger/host/host-connection.ts'];

describe('whoever seals', () => {
  it('has the purpose from the register', () => {
    const source = resolve(import.meta.dirname, '..');
    const sealing = globSync('**/*.ts', { cwd: source })
      .filter((file) => !/\.(test|suite)\.ts$/.test(file) && !inBrowsers.includes(file))
      .filter((file) => /\.seal\(/.test(readFileSync(join(source, file), 'utf8')));
    expect(sealing.length).toBeGreaterThan(1);
    const without = sealing.filter(
      (file) => !/from '[^']*sealed-columns\.ts'/.test(readFileSync(join(source, file), 'utf8')),
    );
    expect(without, 'take the purpose from src/db/sealed-columns.ts').toEqual([]);
  });

  it('has another purpose for every column', () => {
    const row = new Proxy<Record<string, unknown>>({}, { get: (_, name) => String(name) });
    const purposes = allSealedColumns.map((column) => column.purpose(row));
    expect(new Set(purposes).size).toBe(purposes.length);
  });
});
