import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { logStoreSuite } from './log-store.suite.ts';

logStoreSuite('PostgreSQL', scratchPostgres);
