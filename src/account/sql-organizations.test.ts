import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { organizationsSuite } from './organizations.suite.ts';

organizationsSuite('organizations in SQLite', scratchMemory);
