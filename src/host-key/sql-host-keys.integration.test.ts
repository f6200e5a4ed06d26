import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { hostKeysSuite } from './host-keys.suite.ts';

hostKeysSuite('host keys in PostgreSQL', scratchPostgres);
