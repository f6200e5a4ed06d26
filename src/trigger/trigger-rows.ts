import type { Row } from '../db/schema.ts';
import {
  disabledReasons,
  parseTriggerId,
  type Trigger,
  type TriggerId,
  type TriggerService,
  triggerServices,
} from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** A row of triggers as a value, without its secrets. What is read here was written by the store alone. */
export function triggerOf(row: Row<'triggers'>): Trigger {
  return {
    id: triggerIdOf(row.id),
    repository: { namespace: row.namespace, name: row.repository },
    service: serviceOf(row.service),
    active: row.active === 1,
    enabled: row.enabled === 1,
    ...(row.disabled_reason === null ? {} : { disabledReason: reasonOf(row.disabled_reason) }),
    ...(row.disabled_at === null ? {} : { disabledAt: row.disabled_at }),
    ...(row.config_json === null ? {} : { config: JSON.parse(row.config_json) as TriggerConfig }),
    ...(row.connected_user === null ? {} : { connectedUser: row.connected_user }),
    ...(row.pull_robot === null ? {} : { pullRobot: row.pull_robot }),
    ...(row.public_key === null ? {} : { publicKey: row.public_key }),
    createdAt: row.created_at,
  };
}

export function triggerIdOf(text: string): TriggerId {
  return known(parseTriggerId(text), 'triggers.id', text);
}

function serviceOf(text: string): TriggerService {
  return known(
    triggerServices.find((each) => each === text),
    'triggers.service',
    text,
  );
}

function reasonOf(text: string): (typeof disabledReasons)[number] {
  return known(
    disabledReasons.find((each) => each === text),
    'triggers.disabled_reason',
    text,
  );
}

export function known<Value>(value: Value | undefined, column: string, text: string): Value {
  if (value !== undefined) return value;
  throw new TypeError(
    `The database has the value ${JSON.stringify(text)} in ${column}, which this version does not know. Was it changed by hand?`,
  );
}
