import { scratchFile, scratchMemory } from '../../test/harness/scratch-database.ts';
import { buildQueueSuite } from './build-queue.suite.ts';
import { buildQueueProperties } from './build-queue-properties.suite.ts';

buildQueueSuite('SQLite in memory', scratchMemory);
buildQueueSuite('SQLite in a file', scratchFile);
buildQueueProperties('SQLite in memory', scratchMemory, 60);
