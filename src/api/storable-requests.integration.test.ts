import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { storableRequestsSuite } from './storable-requests.suite.ts';

storableRequestsSuite('with PostgreSQL', scratchPostgres);
