import Type, { type Static } from 'typebox';
import { unreachable } from '../base/unreachable.ts';
import { parseDeliveryId } from '../trigger/trigger.ts';
import type { Delivery } from '../trigger/triggers.ts';
import { requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireBuilding } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { textEnum } from './text-enum.ts';
import { triggerOf, triggerParams, triggersPath } from './trigger-path.ts';

const tags = ['triggers'];
const nullable = <Schema extends Type.TSchema>(schema: Schema, description?: string) =>
  Type.Union([schema, Type.Null()], description === undefined ? {} : { description });

const deliverySchema = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    received: Type.String({ format: 'date-time' }),
    by: textEnum(['hook', 'poll', 'cron', 'person'], {
      description:
        'How it came: by the webhook, found by looking for lost pushes, by the clock, or sent again by a person',
    }),
    name: nullable(Type.String(), 'The host’s own name of it'),
    event: nullable(Type.String()),
    ref: nullable(Type.String()),
    commit: nullable(Type.String()),
    repeats: Type.Integer({ description: 'How often the same one came besides the first' }),
    outcome: textEnum(['waiting', 'queued', 'skipped', 'refused', 'failed']),
    reason: nullable(Type.String(), 'Why it was skipped, refused or failed'),
    build_id: nullable(Type.String(), 'The build that was made of it'),
    redelivery_of: nullable(Type.String(), 'The delivery that it is sent again of'),
  },
  { title: 'TriggerDelivery' },
);

/** What came to a trigger, and what became of it. */
export function addTriggerDeliveryRoutes(
  api: Api,
  { triggers, options }: Pick<ApiDependencies, 'triggers' | 'options'>,
): void {
  const config = { access: 'repository-admin' } as const;
  const base = `${triggersPath}/:trigger/deliveries`;

  api.get(
    base,
    {
      config,
      schema: {
        operationId: 'listTriggerDeliveries',
        summary: 'What came to a trigger, newest first, and what became of it',
        tags,
        params: triggerParams,
        querystring: Type.Object({
          limit: Type.Integer({ minimum: 1, maximum: 100, default: 20 }),
          next_page: Type.Optional(Type.String({ maxLength: 100, description: 'From the answer before' })),
        }),
        response: {
          200: Type.Object({
            deliveries: Type.Array(deliverySchema),
            next_page: Type.Optional(Type.String({ description: 'Absent on the last page' })),
          }),
        },
      },
    },
    async (request) => {
      const { trigger } = await triggerOf(triggers, request);
      const { limit, next_page: page } = request.query;
      const before = page === undefined ? undefined : deliveryOf(page);
      const found = await triggers.deliveries(trigger.id, limit + 1, before);
      const shown = found.slice(0, limit);
      const last = shown.at(-1);
      return {
        deliveries: shown.map(viewDelivery),
        ...(found.length > limit && last !== undefined ? { next_page: last.id } : {}),
      };
    },
  );

  api.post(
    `${base}/:delivery/redeliver`,
    {
      config,
      schema: {
        operationId: 'redeliverToTrigger',
        summary: 'Take a delivery again, as if it had come now',
        tags,
        params: Type.Object({ ...triggerParams.properties, delivery: Type.String({ maxLength: 100 }) }),
        response: { 201: deliverySchema },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      requireBuilding(options);
      const { username } = requireUser(request.principal);
      const delivery = deliveryOf(request.params.delivery);
      return await reply
        .status(201)
        .send(viewDelivery(await triggers.redeliver(trigger.id, delivery, username)));
    },
  );
}

function deliveryOf(text: string) {
  const id = parseDeliveryId(text);
  if (id === undefined) throw new ApiError('not_found', 'There is no such delivery. Old ones are removed.');
  return id;
}

function viewDelivery(delivery: Delivery): Static<typeof deliverySchema> {
  const { outcome } = delivery;
  return {
    id: delivery.id,
    received: new Date(delivery.receivedAt).toISOString(),
    by: delivery.by,
    name: delivery.name ?? null,
    event: delivery.event ?? null,
    ref: delivery.ref ?? null,
    commit: delivery.commit ?? null,
    repeats: delivery.repeats,
    outcome: outcome.kind,
    reason: reasonOf(outcome),
    build_id: outcome.kind === 'queued' ? outcome.build : null,
    redelivery_of: delivery.redeliveryOf ?? null,
  };
}

function reasonOf(outcome: Delivery['outcome']): string | null {
  switch (outcome.kind) {
    case 'waiting':
    case 'queued':
      return null;
    case 'skipped':
    case 'refused':
    case 'failed':
      return outcome.reason;
    default:
      return unreachable(outcome);
  }
}
