import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { archiveSuite } from './archive-keeper.suite.ts';

archiveSuite('SQLite in memory', scratchMemory);
archiveSuite('SQLite in a file', scratchFile);
