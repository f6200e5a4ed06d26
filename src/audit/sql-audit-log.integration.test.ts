import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { auditLogSuite } from './audit-log.suite.ts';

auditLogSuite('the audit log in PostgreSQL', scratchPostgres);
