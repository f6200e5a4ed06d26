import Type, { type Static } from 'typebox';
import {
  type AuditQuery,
  type AuditRecord,
  type AuditResult,
  auditActorKinds,
  auditResults,
} from '../audit/audit-log.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { textEnum } from './text-enum.ts';

const shortText = Type.String({ minLength: 1, maxLength: 500 });
const moment = Type.String({ maxLength: 40, description: 'ISO 8601, or seconds since 1970' });
const querystring = Type.Object({
  actor: Type.Optional(shortText),
  actor_kind: Type.Optional(textEnum(auditActorKinds)),
  action: Type.Optional(
    Type.String({ minLength: 1, maxLength: 100, description: 'Such as build.cancel, or build.* for all' }),
  ),
  target: Type.Optional(
    Type.String({ minLength: 1, maxLength: 500, description: 'A repository, or the id of a build or token' }),
  ),
  result: Type.Optional(textEnum(auditResults)),
  since: Type.Optional(moment),
  until: Type.Optional(moment),
  limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
  next_page: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}$', description: 'From the answer before' })),
});
const recordSchema = Type.Object(
  {
    number: Type.Integer(),
    time: Type.String({ format: 'date-time' }),
    actor: Type.Object({
      kind: textEnum(auditActorKinds),
      name: Type.Union([Type.String(), Type.Null()]),
      token_id: Type.Union([Type.String(), Type.Null()]),
    }),
    action: Type.String(),
    target: Type.Union([
      Type.Object({
        kind: Type.String(),
        name: Type.String(),
        namespace: Type.Union([Type.String(), Type.Null()]),
      }),
      Type.Null(),
    ]),
    result: textEnum(auditResults),
    reason: Type.Union([Type.String(), Type.Null()]),
    address: Type.Union([Type.String(), Type.Null()]),
    user_agent: Type.Union([Type.String(), Type.Null()]),
    request_id: Type.Union([Type.String(), Type.Null()]),
    detail: Type.Record(Type.String(), Type.Unknown()),
  },
  { title: 'AuditRecord' },
);
const pageSchema = Type.Object(
  {
    records: Type.Array(recordSchema, { description: 'Newest first' }),
    next_page: Type.Optional(Type.String({ description: 'Absent on the last page' })),
  },
  { title: 'AuditPage' },
);

/** Reading who did what: superusers everything, the administrators of a namespace what concerns it. */
export function addAuditRoutes(
  api: Api,
  { audit, accounts, clock }: Pick<ApiDependencies, 'audit' | 'accounts' | 'clock'>,
): void {
  const page = async (query: Static<typeof querystring>, namespace?: string, from = 0) => {
    const { since = 0, ...rest } = queryOf(query);
    const found = await audit.records({
      ...rest,
      ...(Math.max(since, from) === 0 ? {} : { since: Math.max(since, from) }),
      ...(namespace === undefined ? {} : { namespace }),
      limit: query.limit + 1,
    });
    const records = found.slice(0, query.limit);
    const last = records.at(-1);
    return {
      records: records.map(view),
      ...(found.length > query.limit && last !== undefined ? { next_page: String(last.number) } : {}),
    };
  };

  api.get(
    '/api/v1/superuser/audit',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'listAuditRecords',
        summary: 'Who did what, from where, with what result',
        tags: ['superuser'],
        querystring: Type.Object({
          ...querystring.properties,
          namespace: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
        }),
        response: { 200: pageSchema },
      },
    },
    async (request) => await page(request.query, request.query.namespace),
  );

  api.get(
    '/api/v1/organization/:namespace/audit',
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'listNamespaceAuditRecords',
        summary: 'Who did what in a namespace; for its administrators',
        description: 'Since the namespace came to be: a name may have been another one before.',
        tags: ['namespaces'],
        params: Type.Object({ namespace: Type.String({ maxLength: 255 }) }),
        querystring,
        response: { 200: pageSchema },
      },
    },
    async (request) => {
      const { namespace } = request.params;
      // Who has the name now sees nothing of who had it before.
      const from = (await accounts.organizations.namespaceSince(namespace)) ?? clock.now();
      return await page(request.query, namespace, from);
    },
  );
}

function queryOf(query: Static<typeof querystring>): Omit<AuditQuery, 'limit'> {
  const { actor, action, target, result, since, until, next_page: before } = query;
  const actorKind = query.actor_kind;
  return {
    ...(actor === undefined ? {} : { actor }),
    ...(actorKind === undefined ? {} : { actorKind }),
    ...(action === undefined ? {} : { action }),
    ...(target === undefined ? {} : { target }),
    ...(result === undefined ? {} : { result: result satisfies AuditResult }),
    ...(since === undefined ? {} : { since: momentOf('since', since) }),
    ...(until === undefined ? {} : { until: momentOf('until', until) }),
    ...(before === undefined ? {} : { before: Number(before) }),
  };
}

function momentOf(name: string, text: string): number {
  if (/^\d{1,12}(?:\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000);
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw new ApiError(
      'invalid_request',
      `"${name}" is not a time. Write it like 2030-01-31T12:00:00Z, or as seconds since 1970.`,
    );
  return at;
}

function view(record: AuditRecord): Static<typeof recordSchema> {
  const { actor, target } = record;
  return {
    number: record.number,
    time: new Date(record.at).toISOString(),
    actor: {
      kind: actor.kind,
      name: actor.kind === 'anonymous' ? null : actor.name,
      token_id: actor.kind === 'user' ? (actor.tokenId ?? null) : null,
    },
    action: record.action,
    target:
      target === undefined
        ? null
        : { kind: target.kind, name: target.name, namespace: target.namespace ?? null },
    result: record.result,
    reason: record.reason ?? null,
    address: record.address ?? null,
    user_agent: record.userAgent ?? null,
    request_id: record.requestId ?? null,
    detail: { ...record.detail },
  };
}
