import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { externalIdentitiesSuite } from './external-identities.suite.ts';

externalIdentitiesSuite('external identities in PostgreSQL', scratchPostgres);
