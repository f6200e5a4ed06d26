import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { hostKeysSuite } from './host-keys.suite.ts';

hostKeysSuite('host keys in SQLite', scratchMemory);
