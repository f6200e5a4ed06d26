import { randomUUID } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { Clock } from '../base/clock.ts';
import { tokenOpening } from '../base/token-opening.ts';
import { isRepositoryPath } from '../model/image-reference.ts';
import { type BuildGrant, grantClaims, parseGrant } from './build-grant.ts';
import { parseActions, type RegistryAction } from './registry-access.ts';
import type { SigningKey } from './signing-key.ts';

/** The user name that goes with a build's credential. */
export const buildUsername = '$token';

/** What a build may do: one repository, some actions, for one attempt. */
export interface BuildCredential {
  readonly grant: BuildGrant;
  readonly repository: string;
  /** None: of its own repository it may pull what it may of any other. */
  readonly actions: readonly RegistryAction[];
  /** Milliseconds since 1970; kept to the second. */
  readonly expiresAt: number;
}

const type = 'slipway-registry-credential+jwt';

/**
 * Makes and reads the passwords of builds: JWTs signed with the manager's key, handed to workers as pull and
 * push token, used with the user name `$token`. Their `typ` and audience keep them from being taken for a
 * registry token, which the same key signs.
 */
export class BuildCredentials {
  readonly #key: SigningKey;
  readonly #issuer: string;
  readonly #audience: string;
  readonly #clock: Clock;

  constructor({
    key,
    issuer,
    service,
    clock,
  }: {
    key: SigningKey;
    issuer: string;
    service: string;
    clock: Clock;
  }) {
    this.#key = key;
    this.#issuer = issuer;
    this.#audience = `${service} builds`;
    this.#clock = clock;
  }

  /** How all of them begin: the header names this key. */
  get opening(): Buffer {
    return tokenOpening({ alg: 'ES256', typ: type, kid: this.#key.kid });
  }

  async issue({ grant, repository, actions, expiresAt }: BuildCredential): Promise<string> {
    return await new SignJWT({ repository, actions: [...actions], build: grantClaims(grant) })
      .setProtectedHeader({ alg: 'ES256', typ: type, kid: this.#key.kid })
      .setIssuer(this.#issuer)
      .setAudience(this.#audience)
      .setIssuedAt(Math.floor(this.#clock.now() / 1000))
      .setExpirationTime(Math.floor(expiresAt / 1000))
      .setJti(randomUUID())
      .sign(this.#key.privateKey);
  }

  /**
   * The credential, or undefined for anything that is not one of ours. When it ends is by the clock of whoever claimed the
   * attempt, so whether it has ended is for who asks to find out.
   */
  async verify(password: string): Promise<BuildCredential | undefined> {
    try {
      const { payload } = await jwtVerify(password, this.#key.publicKey, {
        algorithms: ['ES256'],
        typ: type,
        issuer: this.#issuer,
        audience: this.#audience,
        requiredClaims: ['exp'],
        clockTolerance: Number.MAX_SAFE_INTEGER,
      });
      const { repository, actions, build, exp } = payload;
      const grant = parseGrant(build);
      if (grant === undefined || typeof repository !== 'string' || !isRepositoryPath(repository))
        return undefined;
      if (!Array.isArray(actions)) return undefined;
      return { grant, repository, actions: parseActions(actions), expiresAt: (exp ?? 0) * 1000 };
    } catch {
      return undefined;
    }
  }
}
