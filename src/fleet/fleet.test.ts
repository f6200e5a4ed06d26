import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { fleetSuite } from './fleet.suite.ts';

fleetSuite('executors over all servers, in SQLite', scratchMemory);
