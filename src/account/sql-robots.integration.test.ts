import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { robotsSuite } from './robots.suite.ts';

robotsSuite('robots in PostgreSQL', scratchPostgres);
