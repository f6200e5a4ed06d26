import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { retentionSuite } from './retention.suite.ts';

retentionSuite('PostgreSQL', scratchPostgres);
