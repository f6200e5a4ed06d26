import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config/parse-config.ts';
import { configSchema } from '../src/config/schema.ts';
import { keysOf } from '../src/config/schema-keys.ts';
import { configManual } from './config-manual.ts';

const page = readFileSync(join(import.meta.dirname, '../docs/configuration.md'), 'utf8');

describe('docs/configuration.md', () => {
  it('is what the schema says; `npm run generate:config-docs` writes it', () => {
    expect(page).toBe(configManual());
  });

  it('has every key', () => {
    const { known } = keysOf(configSchema);
    expect(known.size).toBeGreaterThan(120);
    expect([...known].filter((key) => !page.includes(`\`${key}\``))).toEqual([]);
  });

  it('has examples that are in order', () => {
    const examples = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);
    expect(examples.length).toBe(2);
    for (const example of examples) {
      const { faults, warnings } = parseConfig({
        bytes: Buffer.from(example),
        file: '/etc/slipway/config.yaml',
        certificateBesideFile: false,
        dataFolder: '/var/lib/slipway',
        environment: {},
        readFile: () => '',
      });
      expect({ faults, warnings }).toEqual({ faults: [], warnings: [] });
    }
  });
});
