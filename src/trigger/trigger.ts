import { randomUUID } from 'node:crypto';
import { type Branded, idParser } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** A lower-case UUID. */
export type TriggerId = Branded<'TriggerId'>;
export type DeliveryId = Branded<'DeliveryId'>;

export const parseTriggerId = idParser<TriggerId>();
export const parseDeliveryId = idParser<DeliveryId>();
export const newTriggerId = (): TriggerId => randomUUID() as TriggerId;
export const newDeliveryId = (): DeliveryId => randomUUID() as DeliveryId;

export type TriggerService = 'custom-git' | 'github' | 'gitlab' | 'bitbucket';
export const triggerServices = [
  'custom-git',
  'github',
  'gitlab',
  'bitbucket',
] as const satisfies readonly TriggerService[];

export const disabledReasons = [
  'user_toggled',
  'successive_build_failures',
  'successive_build_internal_errors',
  'user_deleted',
] as const;
/** Why a trigger was switched off; absent while it is on. */
export type DisabledReason = (typeof disabledReasons)[number];

/**
 * A trigger as it is stored, without its secrets.
 *
 * | is           | created | activated | switched off |
 * |--------------|---------|-----------|--------------|
 * | active       | no      | yes       | yes          |
 * | enabled      | yes     | yes       | no           |
 * | takes pushes | no      | yes       | no           |
 */
export interface Trigger {
  readonly id: TriggerId;
  readonly repository: RepositoryName;
  readonly service: TriggerService;
  readonly active: boolean;
  readonly enabled: boolean;
  readonly disabledReason?: DisabledReason;
  /** When it was switched off; milliseconds since 1970, as all times. */
  readonly disabledAt?: number;
  /** Undefined until it is activated. */
  readonly config?: TriggerConfig;
  /** Whose account at the host it is connected with; builds belong to them. Undefined: the user was deleted. */
  readonly connectedUser?: string;
  readonly pullRobot?: string;
  /** The public half of its key, as OpenSSH writes it; there once it is active. */
  readonly publicKey?: string;
  readonly createdAt: number;
}
