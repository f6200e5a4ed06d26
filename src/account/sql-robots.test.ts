import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { robotsSuite } from './robots.suite.ts';

robotsSuite('robots in SQLite', scratchMemory);
