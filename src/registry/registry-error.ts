import { CodedError } from '../base/coded-error.ts';

/**
 * What can go wrong with a registry, as seen by the rest of Slipway:
 * - `unauthorized`: it wants a login, or did not accept ours
 * - `denied`: it knows us and does not allow this
 * - `name-unknown`: no such repository
 * - `manifest-unknown`: no such tag or manifest
 * - `blob-unknown`: no such blob or upload
 * - `rate-limited`: too many requests for its taste
 * - `unavailable`: not reachable, or it answered with a fault of its own; worth another try later
 * - `tls`: its certificate is not trusted, or it does not speak TLS
 * - `too-large`: more bytes than it, or we, accept
 * - `invalid`: it refused the content, or its answer breaks the protocol
 * - `digest-mismatch`: the bytes it serves are not those of the digest
 * - `unsupported`: it cannot do this at all
 * - `forbidden`: it, or where it leads to, has an address that may not be reached from here
 */
export type RegistryErrorCode =
  | 'unauthorized'
  | 'denied'
  | 'name-unknown'
  | 'manifest-unknown'
  | 'blob-unknown'
  | 'rate-limited'
  | 'unavailable'
  | 'tls'
  | 'too-large'
  | 'invalid'
  | 'digest-mismatch'
  | 'unsupported'
  | 'forbidden';

export class RegistryError extends CodedError<RegistryErrorCode> {}

/** Whether the thing asked for is not there, as opposed to not being answerable. */
export function isAbsent(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  return error.code === 'manifest-unknown' || error.code === 'name-unknown' || error.code === 'blob-unknown';
}

/** Whether the same request may well succeed later. */
export function isTransient(error: unknown): boolean {
  return error instanceof RegistryError && (error.code === 'unavailable' || error.code === 'rate-limited');
}
