import Type, { type Static } from 'typebox';
import type { Role } from '../account/accounts.ts';
import { isAtLeast } from '../account/role.ts';
import type { Trigger } from '../trigger/trigger.ts';
import { disabledReasons, triggerServices } from '../trigger/trigger.ts';
import type { Activated } from '../trigger/triggers.ts';
import { textEnum } from './text-enum.ts';

const nullable = <Schema extends Type.TSchema>(schema: Schema, description?: string) =>
  Type.Union([schema, Type.Null()], description === undefined ? {} : { description });

export const triggerViewSchema = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    service: textEnum(triggerServices),
    is_active: Type.Boolean({ description: 'Whether it was set up to its end' }),
    build_source: nullable(Type.String(), 'owner/name at a host, or the git URL of a custom trigger'),
    repository_url: nullable(Type.String(), 'Where people see the source in a browser'),
    config: Type.Record(Type.String(), Type.Unknown(), {
      description:
        'For administrators, else empty. `credentials` in it is what a person installs by hand; keep it secret',
    }),
    can_invoke: Type.Boolean({ description: 'Whether you may start builds by it' }),
    enabled: Type.Boolean(),
    disabled_reason: nullable(textEnum(disabledReasons)),
    pull_robot: Type.Optional(
      Type.Object({ name: Type.String(), kind: Type.Literal('user'), is_robot: Type.Literal(true) }),
    ),
    connected_user: Type.Optional(
      Type.String({ description: 'Whose account at the host it acts as; for administrators' }),
    ),
    created: Type.String({ format: 'date-time' }),
    disabled: nullable(Type.String({ format: 'date-time' }), 'When it was switched off'),
    faults: Type.Optional(
      Type.Array(Type.String(), { description: 'Templates and expressions that are passed over, and why' }),
    ),
  },
  { title: 'Trigger' },
);

export type TriggerView = Static<typeof triggerViewSchema>;

export interface TriggerBeholder {
  readonly role: Role | undefined;
  readonly repositoryUrl: string | undefined;
  /** Shown to administrators who look at the trigger itself. */
  readonly credentials?: Activated['credentials'];
  readonly faults?: readonly string[];
}

/** What a client sees of a trigger. The fields up to `pull_robot` are those that clients of the field's reference system know. */
export function viewTrigger(
  trigger: Trigger,
  { role, repositoryUrl, credentials, faults }: TriggerBeholder,
): TriggerView {
  const { config, disabledAt } = trigger;
  const admin = role === 'admin';
  const reader = isAtLeast(role, 'read');
  return {
    id: trigger.id,
    service: trigger.service,
    is_active: trigger.active,
    build_source: (reader ? config?.build_source : undefined) ?? null,
    repository_url: (reader ? repositoryUrl : undefined) ?? null,
    config: admin
      ? {
          ...config,
          ...(credentials === undefined ? {} : { credentials: credentials.map((each) => ({ ...each })) }),
        }
      : {},
    can_invoke: admin,
    enabled: trigger.enabled,
    disabled_reason: trigger.disabledReason ?? null,
    ...(admin && trigger.pullRobot !== undefined
      ? { pull_robot: { name: trigger.pullRobot, kind: 'user', is_robot: true } }
      : {}),
    ...(admin && trigger.connectedUser !== undefined ? { connected_user: trigger.connectedUser } : {}),
    created: new Date(trigger.createdAt).toISOString(),
    disabled: disabledAt === undefined ? null : new Date(disabledAt).toISOString(),
    ...(faults === undefined ? {} : { faults: [...faults] }),
  };
}
