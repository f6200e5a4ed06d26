import { randomUUID } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { Clock } from '../base/clock.ts';
import { tokenOpening } from '../base/token-opening.ts';
import { type BuildGrant, grantClaims, parseGrant } from './build-grant.ts';
import { parseActions, type RegistryAccess } from './registry-access.ts';
import type { SigningKey } from './signing-key.ts';

/** What a registry token says. `subject` is empty for nobody; `build` is there when a build acts. */
export interface RegistryToken {
  readonly subject: string;
  readonly access: readonly RegistryAccess[];
  readonly build?: BuildGrant;
}

/**
 * Signs and reads the bearer tokens of the embedded registry, in the form that docker-registry's token
 * authentication asks for: ES256, the certificate in the `x5c` header, the grants in `access`.
 */
export class TokenService {
  readonly #key: SigningKey;
  readonly #issuer: string;
  readonly #service: string;
  readonly #clock: Clock;

  /** `issuer` and `service` must be those of the registry's configuration. */
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
    this.#service = service;
    this.#clock = clock;
  }

  get service(): string {
    return this.#service;
  }

  /** How all of them begin: the header names this key. */
  get opening(): Buffer {
    return tokenOpening({ alg: 'ES256', typ: 'JWT', kid: this.#key.kid });
  }

  /** A token that is valid from now on for `expiresIn` seconds. */
  async issue({ subject, access, build, expiresIn }: RegistryToken & { expiresIn: number }): Promise<string> {
    const now = Math.floor(this.#clock.now() / 1000);
    return await new SignJWT({
      access: access.map(({ repository, actions }) => ({ type: 'repository', name: repository, actions })),
      ...(build === undefined ? {} : { build: grantClaims(build) }),
    })
      .setProtectedHeader({
        alg: 'ES256',
        typ: 'JWT',
        kid: this.#key.kid,
        x5c: [this.#key.certificateBase64],
      })
      .setIssuer(this.#issuer)
      .setSubject(subject)
      .setAudience(this.#service)
      .setIssuedAt(now)
      .setNotBefore(now)
      .setExpirationTime(now + Math.floor(expiresIn))
      .setJti(randomUUID())
      .sign(this.#key.privateKey);
  }

  /** The token's content, or undefined for anything that is not a valid one of ours now. */
  async verify(token: string): Promise<RegistryToken | undefined> {
    try {
      const { payload } = await jwtVerify(token, this.#key.publicKey, {
        algorithms: ['ES256'],
        typ: 'JWT',
        issuer: this.#issuer,
        audience: this.#service,
        requiredClaims: ['exp', 'sub', 'access'],
        currentDate: new Date(this.#clock.now()),
      });
      const access = parseAccess(payload.access);
      const build = payload.build === undefined ? undefined : parseGrant(payload.build);
      if (access === undefined || (payload.build !== undefined && build === undefined)) return undefined;
      return { subject: payload.sub ?? '', access, ...(build === undefined ? {} : { build }) };
    } catch {
      return undefined;
    }
  }
}

function parseAccess(claim: unknown): RegistryAccess[] | undefined {
  if (!Array.isArray(claim)) return undefined;
  return claim.flatMap((entry: { type?: unknown; name?: unknown; actions?: unknown }) =>
    entry.type === 'repository' && typeof entry.name === 'string' && Array.isArray(entry.actions)
      ? [{ repository: entry.name, actions: parseActions(entry.actions) }]
      : [],
  );
}
