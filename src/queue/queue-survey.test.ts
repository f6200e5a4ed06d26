import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { queueSurveySuite } from './queue-survey.suite.ts';

queueSurveySuite('the survey of the queue in SQLite', scratchMemory);
