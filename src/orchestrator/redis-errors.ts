import { messageOf } from '../base/coded-error.ts';
import { OrchestratorError } from './orchestrator-error.ts';

/** Where a server is, for messages. */
export interface RedisPlace {
  readonly host: string;
  readonly port: number;
  readonly database: number;
}

/** The one place that knows how Redis and its client word their errors. */
export function translateRedisError(
  thrown: unknown,
  { host, port, database }: RedisPlace,
): OrchestratorError {
  if (thrown instanceof OrchestratorError) return thrown;
  const where = `Redis at ${host}:${port}`;
  const message = messageOf(thrown);
  const code = codeOf(thrown);
  if (/^WRONGPASS|invalid password|called without any password/i.test(message)) {
    const unasked = message.includes('without any password');
    return new OrchestratorError(
      'wrong-password',
      unasked
        ? `${where} has no password, but REDIS_PASSWORD is set: remove it, or give Redis the password (requirepass).`
        : `${where} does not accept the password. Set REDIS_PASSWORD to the one in its configuration (requirepass or ACL).`,
      thrown,
    );
  }
  if (message.startsWith('NOAUTH')) {
    return new OrchestratorError(
      'wrong-password',
      `${where} asks for a password and none is configured: set REDIS_PASSWORD.`,
      thrown,
    );
  }
  if (/^NOPERM/.test(message)) {
    return new OrchestratorError(
      'forbidden',
      `${where} does not let this account do what Slipway needs (${message}): extend its ACL.`,
      thrown,
    );
  }
  if (/DB index is out of range|invalid DB index/i.test(message)) {
    return new OrchestratorError(
      'no-such-database',
      `${where} has no database ${database}: choose another REDIS_DB, or raise "databases" in its configuration.`,
      thrown,
    );
  }
  if (isTls(code, message)) {
    return new OrchestratorError(
      'tls',
      `No TLS connection to ${where} (${code ?? message}): check REDIS_SSL, that REDIS_CA_CERT signed the server's ` +
        `certificate and that it is made out to this host, and REDIS_CERT_AND_KEY if the server asks for one.`,
      thrown,
    );
  }
  if (isReply(thrown)) {
    return new OrchestratorError('refused', `${where} refused a command: ${message}`, thrown);
  }
  return new OrchestratorError(
    'unreachable',
    `${where} cannot be reached (${code ?? message}): check that it runs, REDIS_HOST and REDIS_PORT, and whether it ` +
      'wants TLS (REDIS_SSL). It is tried again.',
    thrown,
  );
}

export function noAnswer(
  { host, port, tls }: RedisPlace & { readonly tls?: unknown },
  milliseconds: number,
): OrchestratorError {
  const perhaps = tls === undefined ? 'or cut off' : 'cut off, or does not speak TLS (REDIS_SSL)';
  return new OrchestratorError(
    'no-answer',
    `Redis at ${host}:${port} did not answer in ${milliseconds} ms: it is stopped, overloaded, ${perhaps}. ` +
      'It is tried again.',
  );
}

/** An error that the server sent begins with a word in capitals. */
function isReply(thrown: unknown): boolean {
  return thrown instanceof Error && codeOf(thrown) === undefined && /^[A-Z]{3,} /.test(thrown.message);
}

const certificateCodes: readonly string[] = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_SIGNATURE_FAILURE',
  'CERT_REVOKED',
  'CERT_UNTRUSTED',
  'CERT_REJECTED',
  'HOSTNAME_MISMATCH',
  'EPROTO',
];

function isTls(code: string | undefined, message: string): boolean {
  if (code === undefined) return /alert certificate|tlsv1 alert|wrong version number/i.test(message);
  return code.startsWith('ERR_TLS_') || code.startsWith('ERR_SSL_') || certificateCodes.includes(code);
}

function codeOf(thrown: unknown): string | undefined {
  if (typeof thrown !== 'object' || thrown === null) return undefined;
  if ('code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return undefined;
}
