import { scratchFile, scratchPostgres } from '../../test/harness/scratch-database.ts';
import { sealAnewSuite } from './seal-anew.suite.ts';
import { sealAnewKilledSuite } from './seal-anew-killed.suite.ts';
import { sealedColumnsSuite } from './sealed-columns.suite.ts';

sealAnewSuite('PostgreSQL', scratchPostgres);
sealedColumnsSuite('PostgreSQL', scratchPostgres);
sealAnewKilledSuite('PostgreSQL', scratchPostgres);
sealAnewKilledSuite('a file of SQLite', scratchFile);
