/** `npm run generate:config-docs`: writes docs/configuration.md from the schema of the configuration. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configManual } from './config-manual.ts';

writeFileSync(join(import.meta.dirname, '../docs/configuration.md'), configManual());
