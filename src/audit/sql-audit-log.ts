import type { Clock } from '../base/clock.ts';
import { cutText } from '../base/cut-text.ts';
import type { Database } from '../db/database.ts';
import type { NewRow, Row } from '../db/schema.ts';
import { redactTokensIn } from '../model/redact-tokens.ts';
import type {
  AuditActor,
  AuditEvent,
  AuditLog,
  AuditOrigin,
  AuditQuery,
  AuditRecord,
  AuditTarget,
} from './audit-log.ts';
import { auditActorKinds, auditResults } from './audit-log.ts';

interface Waiting {
  readonly row: NewRow<'audit_records'>;
  readonly written: () => void;
  readonly failed: (thrown: unknown) => void;
}

const mostAtOnce = 500;
const prunedAtOnce = 2_000;
const longestText = 500;
const longestDetail = 4_000;

/**
 * The audit log as a table. Records that come while others are being written are written together, in one statement,
 * so that many requests at once cost one write to the disk. What waits is bounded by the requests that wait for it.
 */
export class SqlAuditLog implements AuditLog {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #waiting: Waiting[] = [];
  #writing = false;

  constructor({ database, clock }: { readonly database: Database; readonly clock: Clock }) {
    this.#database = database;
    this.#clock = clock;
  }

  write(event: AuditEvent): Promise<void> {
    const row = rowOf(event, this.#clock.now());
    return new Promise((written, failed) => {
      this.#waiting.push({ row, written, failed });
      if (!this.#writing) void this.#writeAll();
    });
  }

  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, mostAtOnce);
      try {
        await this.#database.sql
          .insertInto('audit_records')
          .values(batch.map(({ row }) => row))
          .execute();
        for (const { written } of batch) written();
      } catch (thrown) {
        for (const { failed } of batch) failed(thrown);
      }
    }
    this.#writing = false;
  }

  async records(query: AuditQuery): Promise<readonly AuditRecord[]> {
    let rows = this.#database.sql
      .selectFrom('audit_records')
      .selectAll()
      .orderBy('number', 'desc')
      .limit(query.limit);
    if (query.actor !== undefined) rows = rows.where('actor', '=', storable(query.actor, longestText));
    if (query.actorKind !== undefined) rows = rows.where('actor_kind', '=', query.actorKind);
    if (query.target !== undefined) rows = rows.where('target', '=', storable(query.target, longestText));
    if (query.namespace !== undefined)
      rows = rows.where('namespace', '=', storable(query.namespace, longestText));
    if (query.result !== undefined) rows = rows.where('result', '=', query.result);
    if (query.since !== undefined) rows = rows.where('at', '>=', query.since);
    if (query.until !== undefined) rows = rows.where('at', '<', query.until);
    if (query.before !== undefined) rows = rows.where('number', '<', query.before);
    const { action } = query;
    if (action?.endsWith('*') === true) {
      const begin = storable(action.slice(0, -1), longestText);
      rows = rows.where('action', '>=', begin).where('action', '<', `${begin}\u{10FFFF}`);
    } else if (action !== undefined) rows = rows.where('action', '=', storable(action, longestText));
    return (await rows.execute()).map(recordOf);
  }

  async prune(before: number, signal?: AbortSignal): Promise<number> {
    let removed = 0;
    for (;;) {
      signal?.throwIfAborted();
      const old = await this.#database.sql
        .selectFrom('audit_records')
        .select('number')
        .where('at', '<', before)
        .orderBy('at')
        .limit(prunedAtOnce)
        .execute();
      if (old.length === 0) return removed;
      const { numDeletedRows } = await this.#database.sql
        .deleteFrom('audit_records')
        .where(
          'number',
          'in',
          old.map(({ number }) => number),
        )
        .executeTakeFirst();
      removed += Number(numDeletedRows);
      if (old.length < prunedAtOnce) return removed;
    }
  }
}

function rowOf(event: AuditEvent, at: number): NewRow<'audit_records'> {
  const { actor, target } = event;
  const text = (value: string | undefined) => (value === undefined ? null : storable(value, longestText));
  return {
    at,
    actor_kind: actor.kind,
    actor: text(actor.kind === 'anonymous' ? undefined : actor.name),
    token_id: text(actor.kind === 'user' ? actor.tokenId : undefined),
    address: text(event.address),
    user_agent: text(event.userAgent),
    request_id: text(event.requestId),
    action: storable(event.action, longestText),
    target_kind: target?.kind ?? null,
    target: text(target?.name),
    namespace: text(target?.namespace),
    result: event.result,
    reason: text(event.reason),
    detail_json: detailText(event.detail ?? {}),
  };
}

/** Others may put much into a request; of each value and of all together only so much is kept. */
function detailText(detail: NonNullable<AuditEvent['detail']>): string {
  const short = Object.entries(detail).map(([name, value]) => {
    if (typeof value === 'string') return [name, storable(value, longestText)] as const;
    if (typeof value === 'object')
      return [name, value.slice(0, 20).map((each) => storable(each, longestText))] as const;
    return [name, value] as const;
  });
  const json = JSON.stringify(Object.fromEntries(short));
  return json.length <= longestDetail ? json : '{"shortened":true}';
}

/** No tokens, whoever wrote them where; no control characters, and nothing that a database would not take as text. */
function storable(text: string, longest: number): string {
  // Of a token that is cut off, no less is hidden.
  return cutText(redactTokensIn(cutText(text, 2 * longest)), longest).replace(/\p{Cc}/gu, '\u{FFFD}');
}

function recordOf(row: Row<'audit_records'>): AuditRecord {
  const { target_kind: kind, target: name, namespace } = row;
  return {
    number: row.number,
    at: row.at,
    actor: actorOf(row),
    action: row.action,
    result: auditResults.find((each) => each === row.result) ?? 'failed',
    ...(kind === null || name === null
      ? {}
      : {
          target: { kind: kind as AuditTarget['kind'], name, ...(namespace === null ? {} : { namespace }) },
        }),
    ...originOf(row),
    ...(row.reason === null ? {} : { reason: row.reason }),
    detail: JSON.parse(row.detail_json) as AuditRecord['detail'],
  };
}

function originOf(row: Row<'audit_records'>): AuditOrigin {
  return {
    ...(row.address === null ? {} : { address: row.address }),
    ...(row.user_agent === null ? {} : { userAgent: row.user_agent }),
    ...(row.request_id === null ? {} : { requestId: row.request_id }),
  };
}

function actorOf({ actor_kind, actor, token_id }: Row<'audit_records'>): AuditActor {
  const kind = auditActorKinds.find((each) => each === actor_kind) ?? 'anonymous';
  if (kind === 'anonymous') return { kind };
  const name = actor ?? '';
  if (kind !== 'user') return { kind, name };
  return { kind, name, ...(token_id === null ? {} : { tokenId: token_id }) };
}
