import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { hostedLifeSuite } from './hosted-life.suite.ts';

hostedLifeSuite('SQLite', scratchMemory);
