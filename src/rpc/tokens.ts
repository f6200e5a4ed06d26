import { randomUUID, sign as signBytes } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import type { Clock } from '../base/clock.ts';
import { tokenOpening } from '../base/token-opening.ts';
import type { WorkerIdentity } from '../manager/worker-sessions.ts';
import { parseAttemptId, parseBuildId, parseJobId } from '../model/ids.ts';
import type { AttemptTimes } from './attempt-times.ts';
import { TokenError } from './token-error.ts';
import type { TokenKey, TokenKeySet } from './token-keys.ts';

export type TokenType = 'build_job_registration' | 'build_job_token';

export interface WorkerTokensOptions {
  readonly keys: TokenKeySet;
  readonly issuer: string;
  /** The manager's host name. */
  readonly audience: string;
  readonly clock: Clock;
  /** The queue. Without it this machine's time of day alone says what has expired. */
  readonly times?: AttemptTimes;
  /** How many verified tokens are remembered. A worker sends the same token in every message. */
  readonly cacheSize?: number;
}

interface Verified {
  readonly type: string;
  readonly identity: WorkerIdentity;
  /** Milliseconds since 1970. */
  readonly begins: number;
  readonly expires: number;
}

const subject = '(anonymous)';
const allowed: readonly string[] = ['ES256', 'RS256'];
/** Managers' clocks may differ by this many seconds. */
const tolerance = 10;
/** A token is about 700 bytes; nothing this long is one of ours, and hashing it is not for free. */
const maximumLength = 8192;

/** Makes and checks the tokens by which workers prove which attempt they are. */
export class WorkerTokens {
  readonly #options: WorkerTokensOptions;
  readonly #cacheSize: number;
  /** In order of use, the least recent first. Only good tokens are in it. */
  readonly #verified = new Map<string, Verified>();

  constructor(options: WorkerTokensOptions) {
    this.#options = options;
    this.#cacheSize = options.cacheSize ?? 10_000;
  }

  /** How all of them begin: the header names the key. */
  get openings(): readonly Buffer[] {
    return this.#options.keys.all.map(({ algorithm, kid }) =>
      tokenOpening({ alg: algorithm, typ: 'JWT', kid }),
    );
  }

  get remembered(): number {
    return this.#verified.size;
  }

  async sign(type: TokenType, identity: WorkerIdentity, lifetimeSeconds: number): Promise<string> {
    const { keys, issuer, audience, clock, times } = this.#options;
    // Whoever claims an attempt lets it register; from then on its time is that manager's, whoever serves the worker.
    const told =
      type === 'build_job_token' ? await times?.timeOf(identity.attemptId, identity.epoch) : undefined;
    const now = Math.floor((told ?? clock.now()) / 1000);
    const expires = now + lifetimeSeconds;
    const { algorithm, kid, privateKey } = keys.signing;
    const payload = {
      access: {},
      context: {
        token_type: type,
        build_id: identity.buildId,
        job_id: identity.jobId,
        expiration: lifetimeSeconds,
        attempt_id: identity.attemptId,
        epoch: identity.epoch,
        ...(identity.registration === undefined ? {} : { registration: identity.registration }),
      },
      iss: issuer,
      aud: audience,
      sub: subject,
      iat: now,
      nbf: now,
      exp: expires,
      jti: randomUUID(),
    };
    const signed = `${encoded({ alg: algorithm, typ: 'JWT', kid })}.${encoded(payload)}`;
    // Here and now: the way through a thread costs several times as much as the signature.
    const signature = signBytes('sha256', Buffer.from(signed), {
      key: privateKey,
      dsaEncoding: 'ieee-p1363',
    });
    const token = `${signed}.${signature.toString('base64url')}`;
    // Most tokens come back to the manager that made them.
    this.#remember(token, {
      type,
      identity: { ...identity },
      begins: now * 1000,
      expires: expires * 1000,
    });
    return token;
  }

  /** Who the token speaks for; throws TokenError. */
  async verify(token: string, type: TokenType): Promise<WorkerIdentity> {
    const known = this.#verified.get(token);
    const verified = known ?? (await this.#check(token));
    this.#verified.delete(token);
    await this.#requireInTime(verified);
    this.#remember(token, verified);
    if (verified.type !== type) {
      throw new TokenError('wrong-type', `the token is not of type ${type}`);
    }
    return verified.identity;
  }

  /** As `verify`, for one stream: its messages carry the same token, which is only compared with the one before. */
  forStream(type: TokenType): (token: string) => Promise<WorkerIdentity> {
    let last:
      | { readonly token: string; readonly identity: WorkerIdentity; readonly expires: number }
      | undefined;
    return async (token) => {
      if (last?.token === token && last.expires > this.#options.clock.now()) return last.identity;
      const identity = await this.verify(token, type);
      last = { token, identity, expires: this.#verified.get(token)?.expires ?? 0 };
      return identity;
    };
  }

  /**
   * By this machine's time of day, and where that says no, by the attempt's own: the clocks of managers may be hours apart,
   * and no attempt is lost by that (ADR 15). Throws TokenError.
   */
  async #requireInTime(verified: Verified): Promise<void> {
    const { clock, times } = this.#options;
    const wrong = judge(verified, clock.now());
    if (wrong === undefined) return;
    const { attemptId, epoch } = verified.identity;
    const told = await times?.timeOf(attemptId, epoch);
    const stillWrong = told === undefined ? wrong : judge(verified, told);
    if (stillWrong !== undefined) throw stillWrong;
  }

  #remember(token: string, verified: Verified): void {
    this.#verified.set(token, verified);
    if (this.#verified.size <= this.#cacheSize) return;
    const [oldest] = this.#verified.keys();
    if (oldest !== undefined) this.#verified.delete(oldest);
  }

  async #check(token: string): Promise<Verified> {
    const key = this.#keyOf(token);
    const { issuer, audience } = this.#options;
    try {
      const { payload } = await jwtVerify(token, key.publicKey, {
        algorithms: [key.algorithm],
        issuer,
        audience,
        subject,
        // `#requireInTime` says whether it is its time.
        clockTolerance: Number.MAX_SAFE_INTEGER,
        requiredClaims: ['iss', 'aud', 'sub', 'exp', 'iat', 'nbf'],
      });
      return readContext(payload);
    } catch (thrown) {
      throw translate(thrown);
    }
  }

  #keyOf(token: string): TokenKey {
    if (token === '') throw new TokenError('malformed', 'there is no token');
    if (token.length > maximumLength) throw new TokenError('malformed', 'the token is too long');
    let header: ReturnType<typeof decodeProtectedHeader>;
    try {
      header = decodeProtectedHeader(token);
    } catch (thrown) {
      throw new TokenError('malformed', 'the token is not a JWT', thrown);
    }
    if (typeof header.alg !== 'string' || !allowed.includes(header.alg)) {
      throw new TokenError('bad-algorithm', 'the token is not signed by an allowed algorithm');
    }
    const key = typeof header.kid === 'string' ? this.#options.keys.find(header.kid) : undefined;
    if (key === undefined) throw new TokenError('unknown-key', 'the token is signed by an unknown key');
    return key;
  }
}

function encoded(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}

function readContext(payload: JWTPayload): Verified {
  const context: unknown = payload.context;
  if (typeof context !== 'object' || context === null) throw missing('context');
  const claims = context as Record<string, unknown>;
  const text = (name: string): string => {
    const value = claims[name];
    if (typeof value !== 'string') throw missing(`context.${name}`);
    return value;
  };
  const type = text('token_type');
  const buildId = parseBuildId(text('build_id')) ?? bad('context.build_id');
  const jobId = parseJobId(text('job_id')) ?? bad('context.job_id');
  const attemptId = parseAttemptId(text('attempt_id')) ?? bad('context.attempt_id');
  const epoch = claims.epoch;
  if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch)) throw missing('context.epoch');
  if (typeof claims.expiration !== 'number') throw missing('context.expiration');
  const { registration } = claims;
  const identity = { buildId, jobId, attemptId, epoch };
  const begins = (payload.nbf ?? 0) * 1000;
  const expires = (payload.exp ?? 0) * 1000;
  if (registration === undefined) return { type, identity, begins, expires };
  if (typeof registration !== 'number' || !Number.isSafeInteger(registration)) {
    throw missing('context.registration');
  }
  return { type, identity: { ...identity, registration }, begins, expires };
}

function judge({ begins, expires }: Verified, now: number): TokenError | undefined {
  if (expires + tolerance * 1000 <= now) return new TokenError('expired', 'the token has expired');
  if (begins - tolerance * 1000 > now) return new TokenError('not-yet-valid', 'the token is not valid yet');
  return undefined;
}

function missing(claim: string): TokenError {
  return new TokenError('missing-claim', `the token has no readable claim ${claim}`);
}

function bad(claim: string): never {
  throw missing(claim);
}

function translate(thrown: unknown): unknown {
  if (thrown instanceof errors.JWTClaimValidationFailed) {
    switch (thrown.claim) {
      case 'aud':
        return thrown.reason === 'missing'
          ? missing('aud')
          : new TokenError('wrong-audience', 'the token is meant for another manager', thrown);
      case 'iss':
        return thrown.reason === 'missing'
          ? missing('iss')
          : new TokenError('wrong-issuer', 'the token was made by another manager', thrown);
      case 'nbf':
        return missing('nbf');
      default:
        return missing(thrown.claim);
    }
  }
  if (thrown instanceof errors.JWSSignatureVerificationFailed) {
    return new TokenError('bad-signature', 'the signature of the token is wrong', thrown);
  }
  if (thrown instanceof errors.JOSEAlgNotAllowed) {
    return new TokenError('bad-algorithm', 'the token is not signed by an allowed algorithm', thrown);
  }
  if (thrown instanceof errors.JOSEError)
    return new TokenError('malformed', 'the token is not a JWT', thrown);
  return thrown;
}
