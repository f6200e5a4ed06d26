import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { CodedError } from '../base/coded-error.ts';

/**
 * - bad-key: a key is not 32 bytes
 * - unknown-key: sealed with a key that is not configured (any more)
 * - tampered: the sealed bytes were changed, or belong to something else
 */
export type SecretBoxErrorCode = 'bad-key' | 'unknown-key' | 'tampered';

export class SecretBoxError extends CodedError<SecretBoxErrorCode> {}

const keyIdBytes = 8;
const nonceBytes = 12;
const tagBytes = 16;
const formatVersion = 1;

/**
 * Secrets at rest: AES-256-GCM. A sealed secret is: version (1 byte), key id (8 bytes: of the key's SHA-256), nonce
 * (12), tag (16), cipher text. The key id makes rotation possible: `seal` uses the current key, `open` also the
 * former ones. `purpose` is bound to it: what was sealed for one build does not open for another.
 */
export class SecretBox {
  readonly #current: { readonly id: Buffer; readonly key: Uint8Array };
  readonly #keys = new Map<string, Uint8Array>();

  constructor({ key, former = [] }: { readonly key: Uint8Array; readonly former?: readonly Uint8Array[] }) {
    for (const each of [key, ...former]) {
      if (each.byteLength !== 32) {
        throw new SecretBoxError(
          'bad-key',
          `The key for secrets has ${each.byteLength} bytes, but must have 32.`,
        );
      }
      this.#keys.set(idOf(each).toString('hex'), each);
    }
    this.#current = { id: idOf(key), key };
  }

  seal(secret: Uint8Array, purpose: string): Uint8Array {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#current.key, nonce);
    cipher.setAAD(Buffer.from(purpose));
    const text = Buffer.concat([cipher.update(secret), cipher.final()]);
    return Buffer.concat([Buffer.of(formatVersion), this.#current.id, nonce, cipher.getAuthTag(), text]);
  }

  /** Whether the current key sealed it, by its header. */
  isCurrent(sealed: Uint8Array): boolean {
    return sealed[0] === formatVersion && this.#current.id.equals(sealed.subarray(1, 1 + keyIdBytes));
  }

  open(sealed: Uint8Array, purpose: string): Uint8Array {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    const header = 1 + keyIdBytes + nonceBytes + tagBytes;
    if (bytes.length < header || bytes[0] !== formatVersion) {
      throw new SecretBoxError('tampered', 'A stored secret is damaged; set it again.');
    }
    const key = this.#keys.get(bytes.subarray(1, 1 + keyIdBytes).toString('hex'));
    if (key === undefined) {
      throw new SecretBoxError(
        'unknown-key',
        'A stored secret was sealed with another key. Add that key to SLIPWAY.FORMER_DATABASE_SECRET_KEYS and start again, or set the secret again.',
      );
    }
    const nonceAt = 1 + keyIdBytes;
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(nonceAt, nonceAt + nonceBytes));
    decipher.setAuthTag(bytes.subarray(nonceAt + nonceBytes, header));
    decipher.setAAD(Buffer.from(purpose));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(header)), decipher.final()]);
    } catch (thrown) {
      throw new SecretBoxError(
        'tampered',
        'A stored secret is damaged or belongs elsewhere; set it again.',
        thrown,
      );
    }
  }
}

function idOf(key: Uint8Array): Buffer {
  return createHash('sha256').update(key).digest().subarray(0, keyIdBytes);
}
