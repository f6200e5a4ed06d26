import { sql } from 'kysely';
import { sendAhead } from '../db/pipeline.ts';
import { type RowSetColumn, rowSet } from '../db/row-set.ts';
import type { NewRow, Row } from '../db/schema.ts';
import { sealedColumns } from '../db/sealed-columns.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import { buildOf } from './build-rows.ts';
import type { Enqueue, Enqueued } from './enqueue-request.ts';
import { Openings } from './openings.ts';
import { seekPlace } from './places.ts';
import { QueueError } from './queue-error.ts';
import { loadBuilds } from './read-builds.ts';
import type { Step } from './step.ts';
import { supersede } from './supersede.ts';

export interface EnqueueSettings {
  readonly tries: number;
  readonly secretBox: SecretBox;
}

/** A build with all its rows, before they are in the database. */
interface NewBuild {
  readonly asked: Enqueue;
  readonly row: Omit<Row<'builds'>, 'number'>;
  readonly jobs: readonly Row<'jobs'>[];
  readonly attempts: readonly Row<'attempts'>[];
  /** It has no place, and may get one that another build has or leaves. */
  readonly seeksPlace: boolean;
}

/**
 * Makes builds, in their order, as if one after the other: what each gets is what it would get alone. For any number of
 * builds it is the same number of statements, unless they want places that others have. A refusal is an answer for
 * that build only.
 */
export async function enqueueAll(
  step: Step,
  all: readonly Enqueue[],
  settings: EnqueueSettings,
): Promise<readonly (Enqueued | QueueError)[]> {
  const namespaces = [...new Set(all.map(({ request }) => request.repository.namespace))];
  await step.statements.lockNamespaces(step.sql, namespaces);
  const openings = await Openings.read(step, all);
  const made: NewBuild[] = [];
  const answers = all.map((asked, index): NewBuild | QueueError | { readonly madeBefore: string } => {
    const before = openings.madeBefore(index);
    if (before !== undefined) return { madeBefore: before };
    const refusal = openings.refusal(index);
    if (refusal !== undefined) return refusal;
    const build = newBuild(step, asked, openings, index, settings.tries);
    openings.taken(index, build.row.id);
    made.push(build);
    return build;
  });
  await insert(step, made);
  await insertSecrets(step, made, settings.secretBox);
  for (const { row, attempts } of made) {
    if (attempts.some(({ ready }) => ready === 1)) {
      step.changes.push({ kind: 'queued', buildId: step.buildId(row.id) });
    }
  }
  const superseded = new Map<string, readonly string[]>();
  for (const build of made)
    if (build.seeksPlace) superseded.set(build.row.id, await replaceOlder(step, build, made));
  const known = await loadBuilds(
    step.sql,
    answers.flatMap((answer) => ('madeBefore' in answer ? [answer.madeBefore] : [])),
  );
  const views = new Map([
    ...known.map((build) => [build.id as string, build] as const),
    ...made.map(({ row, jobs, attempts }) => [row.id, buildOf(row, jobs, attempts)] as const),
  ]);
  return answers.map((answer) => {
    if (answer instanceof QueueError) return answer;
    const id = 'madeBefore' in answer ? answer.madeBefore : answer.row.id;
    const build = views.get(id);
    if (build === undefined)
      return new QueueError('bad-row', `The build ${id} has gone while it was asked for again.`);
    return {
      build,
      repeated: 'madeBefore' in answer,
      superseded: (superseded.get(id) ?? []).map((each) => step.buildId(each)),
    };
  });
}

function newBuild({ now }: Step, asked: Enqueue, openings: Openings, index: number, tries: number): NewBuild {
  const { request, options } = asked;
  const place = openings.place(index);
  const row: NewBuild['row'] = {
    id: newBuildId(),
    namespace: request.repository.namespace,
    repository: request.repository.name,
    priority: request.priority,
    request_json: JSON.stringify(request),
    idempotency_key: options.idempotencyKey ?? null,
    phase: 'waiting',
    desired: 'run',
    cancelled_by: null,
    admitted: place.kind === 'open' ? 1 : 0,
    verdict: null,
    created_at: now,
    started_at: null,
    finished_at: null,
    fault_json: null,
    digest: null,
    image_size: null,
    commit_sha: null,
    publisher: null,
    publish_until: null,
    newest_key: options.newestOnly ?? null,
    superseded_by: null,
    published_json: null,
    trigger_id: request.triggerId ?? null,
  };
  const platforms = request.platforms.length === 0 ? [''] : request.platforms;
  const jobs = platforms.map((platform, ordinal) => ({
    id: newJobId(),
    build_id: row.id,
    ordinal,
    platform,
    tries_left: tries,
    attempt_id: newAttemptId(),
  }));
  const attempts = jobs.map((job, ordinal) =>
    queuedAttempt(job, row, {
      epoch: 1,
      now,
      availableAt: now,
      ...(place.kind === 'open' ? { turn: place.turn + ordinal * place.step } : {}),
    }),
  );
  return { asked, row, jobs, attempts, seeksPlace: place.kind === 'none' && place.yields };
}

/** Supersedes what is to be superseded, then takes a place that is free now or held by a lower priority. */
async function replaceOlder(
  step: Step,
  { row }: NewBuild,
  made: readonly NewBuild[],
): Promise<readonly string[]> {
  const later = made.slice(made.findIndex((each) => each.row === row) + 1).map((each) => each.row.id);
  const superseded = row.newest_key === null ? [] : await supersede(step, row, later);
  await seekPlace(step, row.namespace, row.repository, row.priority);
  return superseded;
}

const buildColumns = {
  id: 'text',
  namespace: 'text',
  repository: 'text',
  priority: 'int',
  request_json: 'text',
  idempotency_key: 'text',
  phase: 'text',
  admitted: 'int',
  created_at: 'int',
  newest_key: 'text',
  trigger_id: 'text',
} as const satisfies Partial<Record<keyof NewRow<'builds'>, RowSetColumn>>;

const jobColumns = {
  id: 'text',
  build_id: 'text',
  ordinal: 'int',
  platform: 'text',
  tries_left: 'int',
  attempt_id: 'text',
} as const satisfies Record<keyof NewRow<'jobs'>, RowSetColumn>;

const attemptColumns = {
  id: 'text',
  job_id: 'text',
  build_id: 'text',
  epoch: 'int',
  state: 'text',
  namespace: 'text',
  priority: 'int',
  ready: 'int',
  turn: 'real',
  available_at: 'int',
  delayed_at: 'int',
  queued_at: 'int',
} as const satisfies Partial<Record<keyof NewRow<'attempts'>, RowSetColumn>>;

async function insert(step: Step, made: readonly NewBuild[]): Promise<void> {
  if (made.length === 0) return;
  const { dialect } = step.statements;
  const into = <Columns extends Readonly<Record<string, RowSetColumn>>>(
    table: string,
    columns: Columns,
    rows: readonly { readonly [name in keyof Columns]: string | number | null }[],
  ) => {
    const names = Object.keys(columns);
    const cut = rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])) as typeof row);
    const list = sql.join(names.map((name) => sql.ref(name)));
    return sql`insert into ${sql.table(table)} (${list}) select ${list} from ${rowSet(dialect, 'new', columns, cut)}`;
  };
  const builds = into(
    'builds',
    buildColumns,
    made.map(({ row }) => row),
  );
  const jobs = into(
    'jobs',
    jobColumns,
    made.flatMap((each) => each.jobs),
  );
  const attempts = into(
    'attempts',
    attemptColumns,
    made.flatMap((each) => each.attempts),
  );
  if (dialect === 'postgres') {
    await sendAhead(step.sql, sql`with builds_made as (${builds}), jobs_made as (${jobs}) ${attempts}`);
    return;
  }
  for (const each of [builds, jobs, attempts]) await each.execute(step.sql);
}

async function insertSecrets(step: Step, made: readonly NewBuild[], secretBox: SecretBox): Promise<void> {
  const rows = made.flatMap(({ row, asked }) =>
    (asked.options.secrets ?? []).map(({ id, value }) => ({
      build_id: row.id,
      id,
      sealed: secretBox.seal(value, sealedColumns.buildSecrets.purpose({ build_id: row.id, id })),
    })),
  );
  for (const row of rows) await step.sql.insertInto('build_secrets').values(row).execute();
}

export function queuedAttempt(
  job: Pick<Row<'jobs'>, 'id' | 'build_id' | 'attempt_id'>,
  build: Pick<Row<'builds'>, 'namespace' | 'priority'>,
  given: {
    readonly epoch: number;
    readonly now: number;
    readonly availableAt: number;
    readonly turn?: number;
  },
): Row<'attempts'> {
  return {
    id: job.attempt_id,
    job_id: job.id,
    build_id: job.build_id,
    epoch: given.epoch,
    state: 'queued',
    namespace: build.namespace,
    priority: build.priority,
    ready: given.turn === undefined ? 0 : 1,
    turn: given.turn ?? 0,
    available_at: given.availableAt,
    delayed_at: given.now,
    desired: 'run',
    cancelled_by: null,
    outcome_json: null,
    executor: null,
    worker: null,
    manager: null,
    lease_until: null,
    capabilities_json: null,
    log_sequence: 0,
    log_stage: 0,
    registrations: 1,
    heard: 0,
    reports_json: null,
    queued_at: given.now,
    scheduled_at: null,
    registered_at: null,
    unpacking_at: null,
    pulling_at: null,
    building_at: null,
    pushing_at: null,
    done_at: null,
  };
}
