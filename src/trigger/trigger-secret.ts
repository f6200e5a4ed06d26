import type { TriggerId } from './trigger.ts';

/** The secrets that a trigger itself has; those it gives to its builds are apart. */
export const triggerSecretNames = ['auth_token', 'private_key', 'webhook_secret', 'write_token'] as const;
export type TriggerSecretName = (typeof triggerSecretNames)[number];

/** What a sealed secret is bound to: it opens for this trigger and this column only. */
export function triggerSecretPurpose(id: TriggerId, name: TriggerSecretName): string {
  return `trigger ${id} ${name}`;
}

/** The same for a build secret that a trigger keeps. */
export function keptSecretPurpose(id: TriggerId, secret: string): string {
  return `trigger-secret ${id} ${secret}`;
}
