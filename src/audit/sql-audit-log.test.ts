import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { auditLogSuite } from './audit-log.suite.ts';

auditLogSuite('the audit log in SQLite', scratchMemory);
