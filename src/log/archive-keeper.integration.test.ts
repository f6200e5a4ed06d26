import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { archiveSuite } from './archive-keeper.suite.ts';

archiveSuite('PostgreSQL', scratchPostgres);
