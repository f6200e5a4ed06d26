import { messageOf } from '../base/coded-error.ts';
import { RegistryError, type RegistryErrorCode } from './registry-error.ts';

/** Codes of the distribution protocol's error bodies, in ours. */
const protocolCodes: Readonly<Record<string, RegistryErrorCode>> = {
  UNAUTHORIZED: 'unauthorized',
  DENIED: 'denied',
  NAME_UNKNOWN: 'name-unknown',
  NAME_INVALID: 'invalid',
  TAG_INVALID: 'invalid',
  MANIFEST_UNKNOWN: 'manifest-unknown',
  MANIFEST_INVALID: 'invalid',
  MANIFEST_UNVERIFIED: 'invalid',
  MANIFEST_BLOB_UNKNOWN: 'blob-unknown',
  BLOB_UNKNOWN: 'blob-unknown',
  BLOB_UPLOAD_UNKNOWN: 'blob-unknown',
  BLOB_UPLOAD_INVALID: 'invalid',
  DIGEST_INVALID: 'invalid',
  SIZE_INVALID: 'invalid',
  TOOMANYREQUESTS: 'rate-limited',
  UNAVAILABLE: 'unavailable',
  UNSUPPORTED: 'unsupported',
};

const nodeTlsCodes =
  /^(?:ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT$|SELF_SIGNED_CERT_IN_CHAIN$|EPROTO$|HOSTNAME_MISMATCH$)/;

/** What a request was about: `what` reads like "pulling the manifest ns/repo:tag". */
export interface RequestPurpose {
  readonly registry: string;
  readonly what: string;
  /** What a bare 404 means; a HEAD has no body to say. */
  readonly absent: 'manifest-unknown' | 'blob-unknown' | 'name-unknown';
}

/** An answer that is not the one hoped for. `body` is its beginning. */
export function errorOfAnswer(status: number, body: string, purpose: RequestPurpose): RegistryError {
  const { code, message } = parseErrorBody(body);
  const own = errorCode(status, code, purpose);
  const said = message === undefined ? `HTTP status ${status}` : `HTTP status ${status}: ${message}`;
  return new RegistryError(
    own,
    `${purpose.registry} refused ${purpose.what} (${said}). ${advice(own, purpose.registry)}`,
  );
}

/** A request that got no answer. An abort stays what it is. */
export function errorOfConnection(error: unknown, purpose: RequestPurpose): unknown {
  if (error instanceof RegistryError || (error instanceof Error && error.name === 'AbortError')) return error;
  const nodeCode = error instanceof Error && 'code' in error ? String(error.code) : '';
  const code: RegistryErrorCode = nodeTlsCodes.test(nodeCode) ? 'tls' : 'unavailable';
  return new RegistryError(
    code,
    `${purpose.registry} cannot be reached for ${purpose.what}: ${messageOf(error) || nodeCode}. ${advice(code, purpose.registry)}`,
    error,
  );
}

function errorCode(status: number, code: string, { absent }: RequestPurpose): RegistryErrorCode {
  // A status of 401 says more than the body's code: docker-registry sends DENIED with it to those who may log in.
  if (status === 401) return 'unauthorized';
  if (status === 429) return 'rate-limited';
  if (status >= 500 && status !== 501) return 'unavailable';
  if (status === 413) return 'too-large';
  const known = protocolCodes[code];
  if (known !== undefined) return known;
  switch (status) {
    case 403:
      return 'denied';
    case 404:
      return absent;
    case 405:
    case 501:
      return 'unsupported';
    default:
      return 'invalid';
  }
}

function advice(code: RegistryErrorCode, registry: string): string {
  switch (code) {
    case 'unauthorized':
      return `Check the user name and password for ${registry}.`;
    case 'denied':
      return 'Ask for the permission, or use other credentials.';
    case 'name-unknown':
    case 'manifest-unknown':
    case 'blob-unknown':
      return 'Check the spelling of the repository and the tag.';
    case 'rate-limited':
      return 'Wait, or log in to get a higher limit.';
    case 'unavailable':
      return 'Check that the registry is up, then try again.';
    case 'tls':
      return `Add its certificate authority to the trusted ones, or mark ${registry} as insecure.`;
    case 'too-large':
      return 'Raise the registry’s limit or make the image smaller.';
    case 'invalid':
    case 'digest-mismatch':
    case 'unsupported':
      return `See the log of ${registry} for the reason.`;
    case 'forbidden':
      return 'Ask an administrator to allow the host.';
  }
}

function parseErrorBody(body: string): { code: string; message?: string } {
  try {
    const parsed: unknown = JSON.parse(body);
    if (
      typeof parsed !== 'object' ||
      parsed === null ||
      !('errors' in parsed) ||
      !Array.isArray(parsed.errors)
    ) {
      return { code: '' };
    }
    const { code, message } = (parsed.errors[0] ?? {}) as { code?: unknown; message?: unknown };
    return {
      code: typeof code === 'string' ? code : '',
      ...(typeof message === 'string' ? { message: harmless(message) } : {}),
    };
  } catch {
    return { code: '' };
  }
}

/** A registry's words end up on terminals and in logs. */
function harmless(message: string): string {
  return message.replace(/\p{Cc}+/gu, ' ').slice(0, 500);
}
