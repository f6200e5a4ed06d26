import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { logStoreSuite } from './log-store.suite.ts';

logStoreSuite('SQLite in memory', scratchMemory);
logStoreSuite('SQLite in a file', scratchFile);
