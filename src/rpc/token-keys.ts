import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';

export type TokenAlgorithm = 'ES256' | 'RS256';

export interface TokenKey {
  /** RFC 7638 thumbprint of the public key: the same on every manager that has the key. */
  readonly kid: string;
  readonly algorithm: TokenAlgorithm;
  readonly publicKey: KeyObject;
  /** Absent: tokens of this key are still accepted, no new ones are made. */
  readonly privateKey?: KeyObject;
}

/**
 * The keys of worker tokens. The first one with a private part signs, every one verifies. To rotate: put the new key
 * first, keep the old one (its public part is enough) until the last token it signed has expired.
 */
export class TokenKeySet {
  readonly #byKid: ReadonlyMap<string, TokenKey>;
  readonly signing: TokenKey & { readonly privateKey: KeyObject };

  /** `pems`: PKCS#8 private or SPKI public keys, EC P-256 or RSA of at least 2048 bits. */
  constructor(pems: readonly string[]) {
    const keys = pems.map(readKey);
    this.#byKid = new Map(keys.map((key) => [key.kid, key]));
    const signing = keys.find((key) => key.privateKey !== undefined);
    if (signing?.privateKey === undefined) {
      throw new TypeError(
        'No private key to sign worker tokens with: the first key must be a private key in PEM.',
      );
    }
    this.signing = { ...signing, privateKey: signing.privateKey };
  }

  get all(): readonly TokenKey[] {
    return [...this.#byKid.values()];
  }

  find(kid: string): TokenKey | undefined {
    return this.#byKid.get(kid);
  }
}

/** A new EC P-256 private key as PKCS#8 PEM; whoever calls keeps it where only the manager can read it. */
export function newTokenKey(): string {
  return generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  }).privateKey;
}

function readKey(pem: string): TokenKey {
  const isPrivate = pem.includes('PRIVATE KEY');
  const privateKey = isPrivate ? createPrivateKey(pem) : undefined;
  const publicKey = createPublicKey(pem);
  return {
    kid: thumbprint(publicKey),
    algorithm: algorithmOf(publicKey),
    publicKey,
    ...(privateKey === undefined ? {} : { privateKey }),
  };
}

function algorithmOf(key: KeyObject): TokenAlgorithm {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256';
  if (key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return 'RS256';
  throw new TypeError('A key for worker tokens must be EC P-256, or RSA of at least 2048 bits.');
}

function thumbprint(key: KeyObject): string {
  const { kty, crv, x, y, e, n } = key.export({ format: 'jwk' });
  // Members in alphabetical order and without white space, as RFC 7638 wants them.
  const members = kty === 'EC' ? { crv, kty, x, y } : { e, kty, n };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}
