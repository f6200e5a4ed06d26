import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { loginLimiterSuite } from './login-limiter.suite.ts';

loginLimiterSuite('failed sign-ins in SQLite', scratchMemory);
