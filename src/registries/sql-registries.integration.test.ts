import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { registriesSuite } from './registries.suite.ts';

registriesSuite('registries in PostgreSQL', scratchPostgres);
