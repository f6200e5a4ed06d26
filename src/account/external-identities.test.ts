import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { externalIdentitiesSuite } from './external-identities.suite.ts';

externalIdentitiesSuite('external identities in SQLite', scratchMemory);
