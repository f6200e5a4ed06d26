import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { sealAnewSuite } from './seal-anew.suite.ts';

sealAnewSuite('SQLite', scratchMemory);
