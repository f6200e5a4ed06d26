import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';

/** scrypt's cost. One hash takes 128·N·r = 32 MiB and about a tenth of a second. */
const cost = { N: 2 ** 15, r: 8, p: 1 } as const;
const keyBytes = 32;
const saltBytes = 16;
const atOnce = 2;
const waitingAtMost = 64;

/** Thrown when too many hashes are asked for at once; memory stays bounded that way. */
export class PasswordsBusy extends Error {
  constructor() {
    super('Too many passwords are being checked at this moment. Try again in a few seconds.');
    this.name = 'PasswordsBusy';
  }
}

/**
 * Passwords at rest: `scrypt$<log2 N>$<r>$<p>$<salt>$<key>`, base64url. The numbers are stored with each hash, so that
 * they can be raised later. At most two are computed at once.
 */
export class PasswordHasher {
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  /** What an unknown user's password is checked against, so that it takes as long as a known one's. */
  readonly #nobody = encode(cost, randomBytes(saltBytes), randomBytes(keyBytes));

  async hash(password: string): Promise<string> {
    const salt = randomBytes(saltBytes);
    return encode(cost, salt, await this.#derive(password, salt, cost));
  }

  /** `stored` undefined: there is no such user; takes the same time and is false. */
  async verify(password: string, stored: string | undefined): Promise<boolean> {
    const { salt, key, ...parameters } = decode(stored ?? this.#nobody);
    const derived = await this.#derive(password, salt, parameters);
    return timingSafeEqual(derived, key) && stored !== undefined;
  }

  async #derive(password: string, salt: Uint8Array, { N, r, p }: { N: number; r: number; p: number }) {
    await this.#enter();
    try {
      return await new Promise<Buffer>((resolve, reject) =>
        scrypt(password.normalize('NFKC'), salt, keyBytes, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
          error === null ? resolve(key) : reject(error),
        ),
      );
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running >= atOnce) {
      if (this.#waiting.length >= waitingAtMost) throw new PasswordsBusy();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }
}

function encode({ N, r, p }: { N: number; r: number; p: number }, salt: Buffer, key: Buffer): string {
  return ['scrypt', Math.log2(N), r, p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

function decode(stored: string): { N: number; r: number; p: number; salt: Buffer; key: Buffer } {
  const [name, logN, r, p, salt, key] = stored.split('$');
  const bytes = Buffer.from(key ?? '', 'base64url');
  if (name !== 'scrypt' || salt === undefined || bytes.length !== keyBytes)
    throw new TypeError('a stored password hash is damaged; set the password again');
  return {
    N: 2 ** Number(logN),
    r: Number(r),
    p: Number(p),
    salt: Buffer.from(salt, 'base64url'),
    key: bytes,
  };
}
