import { type ExitStatus, exitStatus } from './cli-error.ts';
import { type AttemptView, type BuildView, buildPath } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { findBuild } from './find-build.ts';
import { formatBytes, formatSpan, formatTable, formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';

/** Everything about one build. */
export async function show(terminal: Terminal, id: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const found = await findBuild(client, id);
  const build = await client.get<BuildView>(buildPath(found));
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(build, null, 2));
    return exitStatus.ok;
  }
  const tables = [rowsOf(build), attemptRows(build.attempts ?? [])];
  const lines = tables.filter((rows) => rows.length > 0).map((rows) => formatTable(rows).join('\n'));
  printLine(terminal.stdout, lines.join('\n\n'));
  return exitStatus.ok;
}

function rowsOf(build: BuildView): string[][] {
  const rows: string[][] = [
    ['build', build.id],
    ['repository', `${build.repository.namespace}/${build.repository.name}`],
    ['phase', build.phase],
    ['asked for', formatWhen(build.started)],
  ];
  const { timings } = build;
  if (timings?.started) rows.push(['started', formatWhen(timings.started)]);
  if (typeof timings?.seconds === 'number') rows.push(['took', formatSpan(timings.seconds * 1000)]);
  if (build.manual_user) rows.push(['by', build.manual_user]);
  if (build.display_name) rows.push(['source', harmless(build.display_name, false)]);
  rows.push(['tags', build.tags.join(', ')]);
  if (typeof build.queue_position === 'number') rows.push(['queue', `${build.queue_position} before it`]);
  if (build.digest) rows.push(['digest', build.digest]);
  for (const reference of build.image_references ?? []) rows.push(['published', harmless(reference, false)]);
  if (build.image_size) rows.push(['size', formatBytes(build.image_size)]);
  if (build.cancelled_by) rows.push(['cancelled by', build.cancelled_by]);
  if (build.error) rows.push(['error', faultOf(build.error_code, build.error)]);
  return rows;
}

/** One row an attempt, when there was more than the one that the rest is about. */
function attemptRows(attempts: readonly AttemptView[]): string[][] {
  if (attempts.length < 2) return [];
  const head = ['ATTEMPT', 'OUTCOME', 'WAITED', 'RAN', 'WHY'];
  return [
    head,
    ...attempts.map(({ platform, epoch, state, outcome, error_code, error, entered }) => [
      platform === '' ? String(epoch) : `${epoch} ${platform}`,
      outcome ?? state,
      spanOf(entered.queued, entered.scheduled),
      spanOf(entered.scheduled, entered.done),
      error ? faultOf(error_code, error) : '',
    ]),
  ];
}

function spanOf(from: string | undefined, to: string | undefined): string {
  if (from === undefined || to === undefined) return '-';
  return formatSpan(Date.parse(to) - Date.parse(from));
}

function faultOf(code: string | null | undefined, message: string): string {
  return `${code ? `[${code}] ` : ''}${harmless(message, false)}`;
}
