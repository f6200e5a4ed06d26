import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { buildQueueSuite } from './build-queue.suite.ts';

buildQueueSuite('SQLite in memory', scratchMemory);
buildQueueSuite('SQLite in a file', scratchFile);
