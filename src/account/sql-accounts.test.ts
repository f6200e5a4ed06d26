import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { accountsSuite } from './accounts.suite.ts';

accountsSuite('accounts in SQLite', scratchMemory);
