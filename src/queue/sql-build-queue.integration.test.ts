import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { buildQueueSuite } from './build-queue.suite.ts';

buildQueueSuite('PostgreSQL', scratchPostgres);
