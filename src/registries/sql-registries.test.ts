import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { registriesSuite } from './registries.suite.ts';

registriesSuite('registries in SQLite', scratchMemory);
