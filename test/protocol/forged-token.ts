import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from 'jose';
import { newTokenKey } from '../../src/rpc/token-keys.ts';

export interface Forgery {
  /** Changes claims of the top level; undefined removes one. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Changes members of the claim `context`; undefined removes one. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly key?: KeyObject;
}

/** A token like `token`, changed, and signed anew: by the manager's own key unless another is given. */
export async function forge(
  token: string,
  keyPem: string,
  { claims, context, header, key = createPrivateKey(keyPem) }: Forgery,
): Promise<string> {
  const payload = decodeJwt(token);
  const old = payload.context as Record<string, unknown>;
  const changed = without({ ...payload, context: without({ ...old, ...context }), ...claims });
  const { alg = 'ES256', ...rest } = decodeProtectedHeader(token);
  return await new SignJWT(changed).setProtectedHeader({ alg, ...rest, ...header }).sign(key);
}

/** The same claims, not signed at all. */
export function unsigned(token: string): string {
  return new UnsecuredJWT(decodeJwt(token)).encode();
}

/** The same header and signature, other claims. */
export function tampered(token: string, context: Readonly<Record<string, unknown>>): string {
  const [header = '', , signature = ''] = token.split('.');
  const payload = decodeJwt(token);
  const changed = { ...payload, context: { ...(payload.context as object), ...context } };
  return `${header}.${Buffer.from(JSON.stringify(changed)).toString('base64url')}.${signature}`;
}

export function foreignKey(): KeyObject {
  return createPrivateKey(newTokenKey());
}

/** Signs by a shared secret instead: with the public key as the secret, a verifier that trusts `alg` is fooled. */
export async function signedBySecret(token: string, secret: Uint8Array): Promise<string> {
  const { alg: _alg, ...rest } = decodeProtectedHeader(token);
  return await new SignJWT(decodeJwt(token)).setProtectedHeader({ ...rest, alg: 'HS256' }).sign(secret);
}

export function foreignRsaKey(): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
}

function without(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}
