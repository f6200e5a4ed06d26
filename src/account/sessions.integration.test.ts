import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { sessionsSuite } from './sessions.suite.ts';

sessionsSuite('sessions in PostgreSQL', scratchPostgres);
