import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { organizationsSuite } from './organizations.suite.ts';

organizationsSuite('organizations in PostgreSQL', scratchPostgres);
