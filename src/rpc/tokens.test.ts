import { generateKeyPairSync } from 'node:crypto';
import { SignJWT } from 'jose';
import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import { TokenError, type TokenErrorCode } from './token-error.ts';
import { newTokenKey, TokenKeySet } from './token-keys.ts';
import { WorkerTokens } from './tokens.ts';

const identity = { buildId: newBuildId(), jobId: newJobId(), attemptId: newAttemptId(), epoch: 3 };
const pem = newTokenKey();
const rsa = () =>
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });

function make(pems: readonly string[] = [pem], options: { audience?: string; issuer?: string } = {}) {
  const clock = new ManualClock();
  const keys = new TokenKeySet(pems);
  const tokens = new WorkerTokens({ keys, issuer: 'slipway', audience: 'build.example', clock, ...options });
  return { clock, keys, tokens };
}

async function codeOf(promise: Promise<unknown>): Promise<TokenErrorCode | 'accepted'> {
  try {
    await promise;
    return 'accepted';
  } catch (thrown) {
    if (thrown instanceof TokenError) return thrown.code;
    throw thrown;
  }
}

/** A token as ours but for what the test changes. */
async function forge(
  change: { claims?: Record<string, unknown>; context?: Record<string, unknown>; header?: object } = {},
  keys = new TokenKeySet([pem]),
): Promise<string> {
  const now = Math.floor(new ManualClock().now() / 1000);
  const claims = {
    iss: 'slipway',
    aud: 'build.example',
    sub: '(anonymous)',
    iat: now,
    nbf: now,
    exp: now + 60,
    context: {
      token_type: 'build_job_token',
      build_id: identity.buildId,
      job_id: identity.jobId,
      attempt_id: identity.attemptId,
      expiration: 60,
      epoch: 3,
      ...change.context,
    },
    ...change.claims,
  };
  const header = { alg: keys.signing.algorithm, kid: keys.signing.kid, ...change.header };
  return await new SignJWT(JSON.parse(JSON.stringify(claims)))
    .setProtectedHeader(header)
    .sign(keys.signing.privateKey);
}

test('a token gives back who it was made for', async () => {
  const { tokens } = make();
  const token = await tokens.sign('build_job_token', identity, 60);
  expect(await tokens.verify(token, 'build_job_token')).toEqual(identity);
  expect(await tokens.verify(token, 'build_job_token')).toEqual(identity);
});

test('a token carries the claims that other build systems of this protocol look for', async () => {
  const { tokens, keys } = make();
  const token = await tokens.sign('build_job_registration', identity, 90);
  const [header, payload] = token
    .split('.', 2)
    .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()));
  expect(header).toMatchObject({ alg: 'ES256', kid: keys.signing.kid });
  expect(payload).toMatchObject({
    iss: 'slipway',
    aud: 'build.example',
    sub: '(anonymous)',
    context: {
      token_type: 'build_job_registration',
      build_id: identity.buildId,
      job_id: identity.jobId,
      expiration: 90,
    },
  });
  expect(payload.exp - payload.iat).toBe(90);
});

test('an expired token is refused, also one that was verified before', async () => {
  const { tokens, clock } = make();
  const token = await tokens.sign('build_job_token', identity, 60);
  await tokens.verify(token, 'build_job_token');
  const unseen = await tokens.sign('build_job_token', { ...identity, epoch: 4 }, 60);
  await clock.advance(71_000);
  expect(await codeOf(tokens.verify(token, 'build_job_token'))).toBe('expired');
  expect(await codeOf(tokens.verify(unseen, 'build_job_token'))).toBe('expired');
});

describe('where clocks are hours apart', () => {
  const hour = 3_600_000;
  let claimed: ManualClock;
  let living: boolean;
  const manager = (apart: number, told: () => number = () => claimed.now()) => {
    const clock = new ManualClock(claimed.now() + apart);
    const times = { timeOf: async () => (living ? told() : undefined) };
    return new WorkerTokens({
      ...{ keys: new TokenKeySet([pem]), issuer: 'slipway', audience: 'build.example' },
      ...{ clock, times },
    });
  };
  beforeEach(() => {
    claimed = new ManualClock();
    living = true;
  });

  test.each([3, -3])('a living attempt’s token is good at a manager %i h off', async (hours) => {
    const [own, other] = [manager(0), manager(hours * hour)];
    for (const type of ['build_job_registration', 'build_job_token'] as const) {
      const token = await own.sign(type, identity, 60);
      // Seen for the first time, and again.
      for (let count = 0; count < 2; count += 1) expect(await other.verify(token, type)).toEqual(identity);
      expect(await other.forStream(type)(token)).toEqual(identity);
    }
    // It registered at the other one.
    const token = await other.sign('build_job_token', identity, 60);
    expect(await own.verify(token, 'build_job_token')).toEqual(identity);
  });

  test('one that has expired is refused all the same, and one whose attempt is over', async () => {
    const [own, other] = [manager(0), manager(3 * hour)];
    const token = await own.sign('build_job_token', identity, 60);
    await other.verify(token, 'build_job_token');
    living = false;
    expect(await codeOf(other.verify(token, 'build_job_token'))).toBe('expired');
    living = true;
    await claimed.advance(71_000);
    expect(await codeOf(other.verify(token, 'build_job_token'))).toBe('expired');
    const late = await own.sign('build_job_registration', identity, 60);
    const early = manager(-3 * hour, () => claimed.now() - 3 * hour);
    expect(await codeOf(early.verify(late, 'build_job_registration'))).toBe('not-yet-valid');
  });
});

test('a token of one type is not accepted as the other, whichever was asked first', async () => {
  const { tokens } = make();
  const token = await tokens.sign('build_job_registration', identity, 60);
  expect(await codeOf(tokens.verify(token, 'build_job_token'))).toBe('wrong-type');
  expect(await codeOf(tokens.verify(token, 'build_job_registration'))).toBe('accepted');
  expect(await codeOf(tokens.verify(token, 'build_job_token'))).toBe('wrong-type');
});

describe('refuses', () => {
  const unsigned = (header: object, payload: object) =>
    `${[header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`;
  const cases: [string, () => string | Promise<string>, TokenErrorCode][] = [
    ['no token', () => '', 'malformed'],
    ['text', () => 'hello', 'malformed'],
    ['a very long text', () => 'a.'.repeat(10_000), 'malformed'],
    ['alg none', () => unsigned({ alg: 'none' }, {}), 'bad-algorithm'],
    ['an HMAC made with the public key', () => unsigned({ alg: 'HS256' }, {}), 'bad-algorithm'],
    ['another algorithm under a known key', () => forge().then((t) => swapAlgorithm(t)), 'bad-algorithm'],
    ['a key that is not ours', () => forge({}, new TokenKeySet([newTokenKey()])), 'unknown-key'],
    ['no kid', () => forge({ header: { kid: undefined } }), 'unknown-key'],
    [
      'our kid on another key’s signature',
      () => forge({ header: { kid: new TokenKeySet([pem]).signing.kid } }, new TokenKeySet([newTokenKey()])),
      'bad-signature',
    ],
    ['another audience', () => forge({ claims: { aud: 'elsewhere' } }), 'wrong-audience'],
    ['no audience', () => forge({ claims: { aud: undefined } }), 'missing-claim'],
    ['another issuer', () => forge({ claims: { iss: 'someone' } }), 'wrong-issuer'],
    ['another subject', () => forge({ claims: { sub: 'root' } }), 'missing-claim'],
    ['no expiry', () => forge({ claims: { exp: undefined } }), 'missing-claim'],
    ['a token of tomorrow', () => forge({ claims: { nbf: 4_000_000_000 } }), 'not-yet-valid'],
    ['no context', () => forge({ claims: { context: undefined } }), 'missing-claim'],
    ['no build', () => forge({ context: { build_id: undefined } }), 'missing-claim'],
    ['a build id that is a path', () => forge({ context: { build_id: '../../x' } }), 'missing-claim'],
    ['no epoch', () => forge({ context: { epoch: undefined } }), 'missing-claim'],
    ['an epoch that is text', () => forge({ context: { epoch: '3' } }), 'missing-claim'],
    ['no lifetime', () => forge({ context: { expiration: undefined } }), 'missing-claim'],
  ];
  test.each(cases)('%s', async (_name, token, code) => {
    const { tokens } = make();
    expect(await codeOf(tokens.verify(await token(), 'build_job_token'))).toBe(code);
  });
});

function swapAlgorithm(token: string): string {
  const [header, ...rest] = token.split('.');
  const parsed = JSON.parse(Buffer.from(header ?? '', 'base64url').toString());
  return [Buffer.from(JSON.stringify({ ...parsed, alg: 'RS256' })).toString('base64url'), ...rest].join('.');
}

describe('keys', () => {
  test('after a rotation the old key’s tokens are still accepted, and the new key signs', async () => {
    const old = make();
    const token = await old.tokens.sign('build_job_token', identity, 60);
    const rotated = make([newTokenKey(), pem]);
    expect(await rotated.tokens.verify(token, 'build_job_token')).toEqual(identity);
    const next = await rotated.tokens.sign('build_job_token', identity, 60);
    expect(await codeOf(old.tokens.verify(next, 'build_job_token'))).toBe('unknown-key');
  });

  test('RSA keys sign and verify, and a public key is enough to verify', async () => {
    const { privateKey, publicKey } = rsa();
    const token = await make([privateKey]).tokens.sign('build_job_token', identity, 60);
    expect(await make([pem, publicKey]).tokens.verify(token, 'build_job_token')).toEqual(identity);
  });

  test('a set without a private key is refused', () => {
    expect(() => new TokenKeySet([rsa().publicKey])).toThrow(TypeError);
  });
});

test('a token that was seen costs little: 100,000 checks in well under a second', async () => {
  const { tokens } = make();
  const token = await tokens.sign('build_job_token', identity, 60);
  const start = performance.now();
  for (let n = 0; n < 100_000; n++) await tokens.verify(token, 'build_job_token');
  expect(performance.now() - start).toBeLessThan(5_000);
});

test('only so many tokens are remembered', async () => {
  const clock = new ManualClock();
  const keys = new TokenKeySet([pem]);
  const tokens = new WorkerTokens({ keys, issuer: 'i', audience: 'a', clock, cacheSize: 2 });
  for (let epoch = 1; epoch <= 5; epoch++) {
    const token = await tokens.sign('build_job_token', { ...identity, epoch }, 60);
    expect((await tokens.verify(token, 'build_job_token')).epoch).toBe(epoch);
  }
  expect(tokens.remembered).toBe(2);
});
