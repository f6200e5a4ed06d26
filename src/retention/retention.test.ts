import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { retentionSuite } from './retention.suite.ts';

retentionSuite('SQLite in memory', scratchMemory);
retentionSuite('SQLite in a file', scratchFile);
