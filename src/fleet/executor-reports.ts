import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import { type FleetReport, parseReport } from './executor-report.ts';

/** `reportedAt`: milliseconds since 1970. */
export interface ManagerReport {
  readonly manager: string;
  readonly reportedAt: number;
  readonly report: FleetReport;
}

/** What the managers that live say of their executors. */
export class ExecutorReports {
  readonly #database: Database;
  readonly #clock: Clock;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  /** Takes away what managers said that are gone. */
  async write(manager: string, report: FleetReport): Promise<void> {
    const row = { reported_at: this.#clock.now(), report_json: JSON.stringify(report) };
    const { sql } = this.#database;
    await sql
      .deleteFrom('executor_reports')
      .where('manager', '!=', manager)
      .where('manager', 'not in', (of) => of.selectFrom('managers').select('name'))
      .execute();
    await sql
      .insertInto('executor_reports')
      .values({ manager, ...row })
      .onConflict((conflict) => conflict.column('manager').doUpdateSet(row))
      .execute();
  }

  async remove(manager: string): Promise<void> {
    await this.#database.sql.deleteFrom('executor_reports').where('manager', '=', manager).execute();
  }

  /** By the managers' names. */
  async living(): Promise<readonly ManagerReport[]> {
    const rows = await this.#database.sql
      .selectFrom('executor_reports')
      .innerJoin('managers', 'managers.name', 'executor_reports.manager')
      .select(['manager', 'reported_at', 'report_json'])
      .orderBy('manager')
      .execute();
    return rows.flatMap(({ manager, reported_at: reportedAt, report_json: text }) => {
      const report = parseReport(text);
      return report === undefined ? [] : [{ manager, reportedAt, report }];
    });
  }
}
