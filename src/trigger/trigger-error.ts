import { CodedError } from '../base/coded-error.ts';

/**
 * - malformed: a delivery's payload is not what it should be (400)
 * - wrong-type: it is not application/json (415)
 * - too-large: it is larger than is taken (413)
 * - unknown: there is no such trigger, delivery, branch, repository … (404)
 * - forbidden: the delivery proves nothing, or wrongly (403)
 * - not-active: the trigger has not been activated (400)
 * - disabled: it is switched off (400)
 * - active: it is active already (400)
 * - bad-config: what it is to build cannot be built, or the configuration is not allowed (400)
 * - queue-full: the namespace has too many builds that wait (429)
 * - read-only: builds are not taken now (503)
 * - host: the host refused or did not answer; the cause is a HostError (502)
 */
export type TriggerErrorCode =
  | 'malformed'
  | 'wrong-type'
  | 'too-large'
  | 'unknown'
  | 'forbidden'
  | 'not-active'
  | 'disabled'
  | 'active'
  | 'bad-config'
  | 'queue-full'
  | 'read-only'
  | 'host';

export class TriggerError extends CodedError<TriggerErrorCode> {}
