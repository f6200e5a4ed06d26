import { parseDuration } from '../base/duration.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable, formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface AuditFlags extends ServerFlags {
  readonly namespace?: string;
  readonly actor?: string;
  readonly action?: string;
  readonly target?: string;
  readonly result?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit: number;
}

/** One record as the REST API gives it; only what is shown. */
interface AuditRecordView {
  readonly time: string;
  readonly actor: { readonly kind: string; readonly name: string | null };
  readonly action: string;
  readonly target: { readonly kind: string; readonly name: string } | null;
  readonly result: string;
  readonly reason: string | null;
  readonly address: string | null;
}

interface Page {
  readonly records: readonly AuditRecordView[];
  readonly next_page?: string;
}

/** Records in one answer of the server at most. */
const pageSize = 1000;

/** Who did what: everything for superusers, with --namespace what its administrators may see. */
export async function audit(terminal: Terminal, flags: AuditFlags, now: number): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const query = queryOf(flags, now);
  const path =
    flags.namespace === undefined
      ? '/api/v1/superuser/audit'
      : `/api/v1/organization/${encodeURIComponent(flags.namespace)}/audit`;
  const records: AuditRecordView[] = [];
  for (let next: string | undefined = ''; next !== undefined && records.length < flags.limit; ) {
    query.set('limit', String(Math.min(pageSize, flags.limit - records.length)));
    if (next !== '') query.set('next_page', next);
    const page: Page = await client.get<Page>(`${path}?${query}`);
    records.push(...page.records);
    next = page.next_page;
  }
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(records, null, 2));
    return exitStatus.ok;
  }
  if (records.length === 0) printLine(terminal.stdout, 'Nothing was recorded that fits.');
  else
    for (const line of formatTable([
      ['TIME', 'WHO', 'FROM', 'ACTION', 'RESULT', 'TARGET'],
      ...records.map(rowOf),
    ]))
      printLine(terminal.stdout, line);
  return exitStatus.ok;
}

function rowOf({ time, actor, action, target, result, reason, address }: AuditRecordView): string[] {
  return [
    formatWhen(time),
    actor.name === null ? actor.kind : `${actor.kind} ${harmless(actor.name, false)}`,
    harmless(address ?? '-', false),
    harmless(action, false),
    reason === null ? result : `${result} (${harmless(reason, false)})`,
    target === null ? '-' : `${target.kind} ${harmless(target.name, false)}`,
  ];
}

function queryOf(flags: AuditFlags, now: number): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of ['actor', 'action', 'target', 'result'] as const) {
    const value = flags[name];
    if (value !== undefined) query.set(name, value);
  }
  for (const name of ['since', 'until'] as const) {
    const value = flags[name];
    if (value !== undefined) query.set(name, momentOf(`--${name}`, value, now));
  }
  return query;
}

/** A moment as it stands, or a span before now. */
function momentOf(flag: string, text: string, now: number): string {
  const span = parseDuration(text);
  if (span !== undefined) return new Date(now - span).toISOString();
  const at = Date.parse(text);
  if (!/^\d{4}-/.test(text) || Number.isNaN(at))
    throw new CliError(
      'usage',
      `${flag} ${text} is neither a time nor a span. Write it like 2030-01-31T12:00:00Z, or like 24h for that long ago.`,
    );
  return new Date(at).toISOString();
}
