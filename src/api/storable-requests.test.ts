import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { storableRequestsSuite } from './storable-requests.suite.ts';

storableRequestsSuite('with SQLite', scratchMemory);
