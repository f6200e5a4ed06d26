import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { deliveriesSuite } from './deliveries.suite.ts';
import { triggersSuite } from './triggers.suite.ts';

triggersSuite('SQLite', scratchMemory);
deliveriesSuite('SQLite', scratchMemory);
