import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { type AttemptId, newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import type { Tag } from '../model/tag.ts';
import { BuildCredentials } from './build-credential.ts';
import type { BuildGrant } from './build-grant.ts';
import type { RegistryAction } from './registry-access.ts';
import { loadSigningKey, type SigningKey } from './signing-key.ts';
import { parseBasic, TokenEndpoint, type TokenRefusal } from './token-endpoint.ts';
import { TokenService } from './token-service.ts';

let folder: string;
let key: SigningKey;
let otherKey: SigningKey;
let clock: ManualClock;
let tokens: TokenService;
let buildCredentials: BuildCredentials;
let endpoint: TokenEndpoint;
let current: Map<AttemptId, number>;

const rights: Readonly<Record<string, readonly RegistryAction[]>> = {
  'ann team/app': ['pull', 'push'],
  'ann team/private': ['pull', 'push'],
  ' team/public': ['pull', 'push'],
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-tokens-'));
  key = await loadSigningKey(path.join(folder, 'a'), new ManualClock());
  otherKey = await loadSigningKey(path.join(folder, 'b'), new ManualClock());
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** How far this machine's clock is ahead of the one that attempts were claimed by. */
let apart: number;

beforeEach(() => {
  apart = 0;
  clock = new ManualClock();
  current = new Map();
  const identity = { key, issuer: 'slipway', service: 'registry', clock };
  tokens = new TokenService(identity);
  buildCredentials = new BuildCredentials(identity);
  endpoint = new TokenEndpoint({
    tokens,
    buildCredentials,
    clock,
    authorizer: {
      authenticate: async ({ username, password }) =>
        username === 'later'
          ? { tryLater: password === 'busy' ? 'busy' : 'locked', retryAfter: 2_000 }
          : username === 'ann' && password === 'secret'
            ? { name: 'ann' }
            : undefined,
      readerNamed: async (name) => (name === 'ann' ? { name } : undefined),
      authorize: async (subject, repository) => rights[`${subject?.name ?? ''} ${repository}`] ?? [],
    },
    attempts: {
      isCurrent: async (attemptId, epoch) => current.get(attemptId) === epoch,
      timeOf: async (attemptId, epoch) =>
        current.get(attemptId) === epoch ? clock.now() - apart : undefined,
    },
  });
});

const ann = { username: 'ann', password: 'secret' };

function newGrant(): BuildGrant {
  const grant: BuildGrant = {
    buildId: newBuildId(),
    jobId: newJobId(),
    attemptId: newAttemptId(),
    epoch: 3,
    worker: 'slipway',
    tags: ['latest' as Tag],
  };
  current.set(grant.attemptId, grant.epoch);
  return grant;
}

async function grantedTo(credentials: typeof ann | undefined, ...scopes: string[]) {
  const answer = await endpoint.answer({ service: 'registry', scopes, credentials });
  return (await tokens.verify(answer.token))?.access;
}

describe('users', () => {
  test('get what they may of what they ask for', async () => {
    expect(await grantedTo(ann, 'repository:team/app:pull,push,delete')).toEqual([
      { repository: 'team/app', actions: ['pull', 'push'] },
    ]);
    expect(
      await grantedTo(ann, 'repository:team/app:pull repository:team/other:pull', 'repository:team/app:push'),
    ).toEqual([{ repository: 'team/app', actions: ['pull', 'push'] }]);
    expect(await grantedTo(undefined, 'repository:team/app:pull', 'repository:team/public:pull')).toEqual([
      { repository: 'team/public', actions: ['pull'] },
    ]);
  });

  test('get a token worth nothing when they only log in, or ask for something else', async () => {
    expect(await grantedTo(ann)).toEqual([]);
    expect(
      await grantedTo(ann, 'registry:catalog:*', 'repository:../etc:pull', 'repository:team/app', '::'),
    ).toEqual([]);
  });

  test('with a wrong password get none', async () => {
    const request = { service: 'registry', scopes: [], credentials: { ...ann, password: 'wrong' } };
    await expect(endpoint.answer(request)).rejects.toMatchObject({
      name: 'TokenRequestError',
      code: 'unauthorized',
    });
  });

  test.each([
    ['locked', ['locked']],
    ['busy', []],
  ])('whose password is not looked at (%s) are told when to come again', async (password, told) => {
    const refusals: string[] = [];
    const witness = { signedIn: () => {}, refused: ({ reason }: TokenRefusal) => refusals.push(reason) };
    const credentials = { username: 'later', password };
    await expect(
      endpoint.answer({ service: 'registry', scopes: [], credentials, witness }),
    ).rejects.toMatchObject({ code: password, retryAfter: 2_000 });
    expect(refusals).toEqual(told);
  });

  test('of another service get none', async () => {
    const request = { service: 'elsewhere', scopes: [], credentials: ann };
    await expect(endpoint.answer(request)).rejects.toMatchObject({ code: 'invalid' });
  });

  test('are answered in the protocol’s form', async () => {
    const answer = await endpoint.answer({
      service: undefined,
      scopes: ['repository:team/app:pull'],
      credentials: ann,
    });
    expect(answer).toEqual({
      token: answer.access_token,
      access_token: expect.any(String),
      expires_in: 300,
      issued_at: new Date(clock.now()).toISOString(),
    });
    expect(decodeProtectedHeader(answer.token)).toEqual({
      alg: 'ES256',
      typ: 'JWT',
      kid: key.kid,
      x5c: [key.certificateBase64],
    });
    const seconds = Math.floor(clock.now() / 1000);
    expect(decodeJwt(answer.token)).toEqual({
      iss: 'slipway',
      sub: 'ann',
      aud: 'registry',
      iat: seconds,
      nbf: seconds,
      exp: seconds + 300,
      jti: expect.any(String),
      access: [{ type: 'repository', name: 'team/app', actions: ['pull'] }],
    });
  });
});

describe('builds', () => {
  async function credential(
    grant: BuildGrant,
    actions: readonly RegistryAction[] = ['pull', 'push'],
    lifetime = 3_600_000,
  ) {
    const expiresAt = clock.now() + lifetime;
    const password = await buildCredentials.issue({ grant, repository: 'team/app', actions, expiresAt });
    return { username: '$token', password };
  }

  test('may do in their one repository what their credential says', async () => {
    const grant = newGrant();
    expect(await grantedTo(await credential(grant), 'repository:team/app:pull,push,delete')).toEqual([
      { repository: 'team/app', actions: ['pull', 'push'] },
    ]);
    expect(await grantedTo(await credential(grant, ['pull']), 'repository:team/app:pull,push')).toEqual([
      { repository: 'team/app', actions: ['pull'] },
    ]);
  });

  test('may only pull elsewhere, and only what everybody may', async () => {
    const scopes = ['repository:team/public:pull,push', 'repository:team/private:pull'];
    expect(await grantedTo(await credential(newGrant()), ...scopes)).toEqual([
      { repository: 'team/public', actions: ['pull'] },
    ]);
  });

  test('may pull elsewhere what whoever asked for them may pull, and never push there', async () => {
    const scopes = ['repository:team/private:pull,push', 'repository:others/private:pull'];
    const asked = async (asker: string) => grantedTo(await credential({ ...newGrant(), asker }), ...scopes);
    expect(await asked('ann')).toEqual([{ repository: 'team/private', actions: ['pull'] }]);
    expect(await asked('gone')).toEqual([]);
  });

  test('without a right in their own repository pull of it what everybody may, and push nothing', async () => {
    const scopes = ['repository:team/app:pull,push', 'repository:team/public:pull'];
    expect(await grantedTo(await credential(newGrant(), []), ...scopes)).toEqual([
      { repository: 'team/public', actions: ['pull'] },
    ]);
    const published = { grant: newGrant(), repository: 'team/public', expiresAt: clock.now() + 60_000 };
    const password = await buildCredentials.issue({ ...published, actions: [] });
    expect(await grantedTo({ username: '$token', password }, 'repository:team/public:pull,push')).toEqual([
      { repository: 'team/public', actions: ['pull'] },
    ]);
  });

  test('carry their attempt in the token', async () => {
    const grant = newGrant();
    const { token } = await endpoint.answer({
      service: 'registry',
      scopes: [],
      credentials: await credential(grant),
    });
    expect(await tokens.verify(token)).toEqual({
      subject: `build ${grant.buildId}`,
      access: [],
      build: grant,
    });
  });

  test('whose attempt is over, or whose epoch is not the newest, get none', async () => {
    const grant = newGrant();
    const credentials = await credential(grant);
    const request = { service: 'registry', scopes: [], credentials };
    current.set(grant.attemptId, grant.epoch + 1);
    await expect(endpoint.answer(request)).rejects.toMatchObject({ code: 'unauthorized' });
    current.delete(grant.attemptId);
    await expect(endpoint.answer(request)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('get none after their credential’s end, and none that lives much longer', async () => {
    const credentials = await credential(newGrant(), ['pull'], 100_000);
    const request = { service: 'registry', scopes: [], credentials };
    expect((await endpoint.answer(request)).expires_in).toBe(100);
    await clock.advance(90_000);
    expect((await endpoint.answer(request)).expires_in).toBe(60);
    await clock.advance(20_000);
    await expect(endpoint.answer(request)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('get one by the clock that their attempt was claimed by, wherever they ask', async () => {
    const credentials = await credential(newGrant(), ['pull'], 100_000);
    const request = { service: 'registry', scopes: [], credentials };
    apart = 10_800_000;
    await clock.advance(apart);
    expect((await endpoint.answer(request)).expires_in).toBe(100);
    apart = 0;
    await expect(endpoint.answer(request)).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

describe('what the same key signed for another purpose', () => {
  test('is no password, and no token', async () => {
    const password = await buildCredentials.issue({
      grant: newGrant(),
      repository: 'team/app',
      actions: ['pull'],
      expiresAt: clock.now() + 60_000,
    });
    const token = await tokens.issue({ subject: 'ann', access: [], expiresIn: 60 });
    expect(await tokens.verify(password)).toBeUndefined();
    expect(await buildCredentials.verify(token)).toBeUndefined();
    expect(await tokens.verify(token)).toBeDefined();
    expect(await buildCredentials.verify(password)).toBeDefined();
  });

  test('nor is what another key or another issuer signed, or nonsense', async () => {
    const forged = { issuer: 'slipway', service: 'registry', clock };
    for (const identity of [
      { ...forged, key: otherKey },
      { ...forged, key, issuer: 'other' },
      { ...forged, key, service: 'other' },
    ]) {
      const token = await new TokenService(identity).issue({ subject: 'ann', access: [], expiresIn: 60 });
      expect(await tokens.verify(token)).toBeUndefined();
    }
    for (const nonsense of ['', 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.']) {
      expect(await tokens.verify(nonsense)).toBeUndefined();
      expect(await buildCredentials.verify(nonsense)).toBeUndefined();
    }
  });

  test('a token is refused after its end', async () => {
    const token = await tokens.issue({ subject: 'ann', access: [], expiresIn: 60 });
    await clock.advance(59_000);
    expect(await tokens.verify(token)).toBeDefined();
    await clock.advance(2_000);
    expect(await tokens.verify(token)).toBeUndefined();
  });
});

test.each([
  [undefined, undefined],
  ['Bearer x', undefined],
  ['Basic !!!', undefined],
  [`Basic ${Buffer.from('nocolon').toString('base64')}`, undefined],
  [`basic ${Buffer.from('$token:a:b').toString('base64')}`, { username: '$token', password: 'a:b' }],
  [`Basic ${Buffer.from('ünï:pä').toString('base64')}`, { username: 'ünï', password: 'pä' }],
])('the header %j', (header, credentials) => {
  expect(parseBasic(header)).toEqual(credentials);
});
