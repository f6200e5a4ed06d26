import { sealedColumns } from '../db/sealed-columns.ts';
import type { TriggerId } from './trigger.ts';

/** The secrets that a trigger itself has; those it gives to its builds are apart. */
export const triggerSecretNames = ['auth_token', 'private_key', 'webhook_secret', 'write_token'] as const;
export type TriggerSecretName = (typeof triggerSecretNames)[number];

const columns = {
  auth_token: sealedColumns.triggerAuthTokens,
  private_key: sealedColumns.triggerPrivateKeys,
  webhook_secret: sealedColumns.triggerWebhookSecrets,
  write_token: sealedColumns.triggerWriteTokens,
} as const satisfies Record<TriggerSecretName, unknown>;

/** What a sealed secret is bound to: it opens for this trigger and this column only. */
export function triggerSecretPurpose(id: TriggerId, name: TriggerSecretName): string {
  return columns[name].purpose({ id });
}

/** The same for a build secret that a trigger keeps. */
export function keptSecretPurpose(id: TriggerId, secret: string): string {
  return sealedColumns.triggerSecrets.purpose({ trigger_id: id, id: secret });
}
