import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { hostedLifeSuite } from './hosted-life.suite.ts';

hostedLifeSuite('PostgreSQL', scratchPostgres);
