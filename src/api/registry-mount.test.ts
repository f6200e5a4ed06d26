import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import proxyAddress from '@fastify/proxy-addr';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AccountAuthorizer } from '../account/authorizer.ts';
import { LoginLimiter } from '../account/login-limiter.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SignIn } from '../account/sign-in.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import type { AuditRecord } from '../audit/audit-log.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { ManualClock } from '../base/clock.ts';
import { Database } from '../db/database.ts';
import { type AttemptId, newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import { BuildCredentials } from '../registry/build-credential.ts';
import { loadSigningKey } from '../registry/signing-key.ts';
import { TokenEndpoint } from '../registry/token-endpoint.ts';
import { TokenService } from '../registry/token-service.ts';
import { AuditTrail } from './audit-trail.ts';
import { registryHandler } from './registry-mount.ts';

const password = 'correct horse';
const current = new Map<AttemptId, number>();

let folder: string;
let database: Database;
let server: Server;
let url: string;
let audit: SqlAuditLog;
let builds: BuildCredentials;
let accounts: SqlAccounts;
let clock: ManualClock;
const faults: unknown[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-mount-'));
  database = await Database.open({ provider: 'sqlite', file: ':memory:' });
  clock = new ManualClock();
  accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  const signIn = new SignIn(accounts, new LoginLimiter(database, clock));
  await accounts.createUser({ username: 'kim', password });
  await accounts.createUser({ username: 'lee', password });
  await accounts.createRepository({ namespace: 'kim', name: 'web' }, { visibility: 'private' });
  audit = new SqlAuditLog({ database, clock });
  const identity = {
    key: await loadSigningKey(folder, clock),
    issuer: 'slipway',
    service: 'registry',
    clock,
  };
  builds = new BuildCredentials(identity);
  const tokens = new TokenEndpoint({
    tokens: new TokenService(identity),
    buildCredentials: builds,
    authorizer: new AccountAuthorizer(accounts, signIn),
    attempts: {
      isCurrent: async (attemptId, epoch) => current.get(attemptId) === epoch,
      timeOf: async (attemptId, epoch) => (current.get(attemptId) === epoch ? clock.now() : undefined),
    },
    clock,
  });
  const isTrusted = proxyAddress.compile(['127.0.0.1']);
  server = createServer(
    registryHandler({
      registry: {
        tokens,
        handle: async (_request, response, witness) => {
          await witness({ kind: 'push', by: 'kim', repository: 'kim/web', reference: '1.0' });
          response.end();
        },
      },
      trail: new AuditTrail({ audit, accounts, clock, logger: pino({ level: 'silent' }) }),
      addressOf: (request) => proxyAddress(request, isTrusted),
      onFault: (error) => faults.push(error),
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/auth`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await database.stop();
  await rm(folder, { recursive: true });
  expect(faults.splice(0)).toEqual([]);
});

async function ask(username: string | undefined, secret: string, scope?: string): Promise<number> {
  const query = scope === undefined ? '' : `?scope=${encodeURIComponent(scope)}`;
  const response = await fetch(`${url}${query}`, {
    headers: {
      'x-forwarded-for': '192.0.2.9',
      'user-agent': 'docker/28',
      ...(username === undefined
        ? {}
        : { authorization: `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}` }),
    },
  });
  await response.text();
  return response.status;
}

const records = async (): Promise<readonly AuditRecord[]> => await audit.records({ limit: 100 });
const origin = { address: '192.0.2.9', userAgent: 'docker/28' };

async function worker(
  epoch: number,
  isCurrent: boolean,
  asker?: string,
): Promise<{ attemptId: AttemptId; secret: string }> {
  const attemptId = newAttemptId();
  if (isCurrent) current.set(attemptId, epoch);
  const secret = await builds.issue({
    grant: {
      buildId: newBuildId(),
      jobId: newJobId(),
      attemptId,
      epoch,
      worker: 'slipway',
      tags: [],
      ...(asker === undefined ? {} : { asker }),
    },
    repository: 'kim/web',
    actions: ['pull', 'push'],
    expiresAt: clock.now() + 3_600_000,
  });
  return { attemptId, secret };
}

test('an image that somebody pushes is recorded before it is answered', async () => {
  const response = await fetch(new URL('/v2/kim/web/manifests/1.0', url), {
    method: 'PUT',
    headers: { 'x-forwarded-for': '192.0.2.9', 'user-agent': 'docker/28' },
  });
  expect(response.status).toBe(200);
  expect(await records()).toMatchObject([
    {
      ...origin,
      actor: { kind: 'user', name: 'kim' },
      action: 'image.push',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      result: 'done',
      detail: { reference: '1.0' },
    },
  ]);
});

describe('the registry’s tokens in the audit log', () => {
  test('somebody who signs in is recorded, once for a while, and what they may do leaves no record', async () => {
    expect(await ask('kim', password, 'repository:kim/web:pull,push')).toBe(200);
    expect(await ask('kim', password, 'repository:kim/web:pull')).toBe(200);
    expect(await records()).toMatchObject([
      {
        ...origin,
        actor: { kind: 'user', name: 'kim' },
        action: 'sign-in',
        result: 'done',
        detail: { door: 'registry' },
      },
    ]);
  });

  test('a wrong password is recorded, without it', async () => {
    expect(await ask('kim', 'hunter2')).toBe(401);
    const written = await records();
    expect(written).toMatchObject([
      {
        ...origin,
        actor: { kind: 'anonymous' },
        action: 'sign-in',
        target: { kind: 'user', name: 'kim' },
        result: 'refused',
        reason: 'wrong-credentials',
      },
    ]);
    expect(JSON.stringify(written)).not.toContain('hunter2');
  });

  test('who is locked out is told so, and until when, and so does the record', async () => {
    for (let count = 0; count < 5; count += 1) expect(await ask('kim', 'hunter2')).toBe(401);
    const response = await fetch(url, {
      headers: {
        'x-forwarded-for': '192.0.2.9',
        authorization: `Basic ${Buffer.from(`kim:${password}`).toString('base64')}`,
      },
    });
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '2']);
    expect(response.headers.get('www-authenticate')).toBeNull();
    expect(await response.json()).toMatchObject({ errors: [{ code: 'TOOMANYREQUESTS' }] });
    expect((await records())[0]).toMatchObject({ action: 'sign-in', result: 'refused', reason: 'locked' });
  });

  test('what somebody may not do is recorded, with what it was', async () => {
    expect(await ask('lee', password, 'repository:kim/web:pull,push')).toBe(200);
    expect((await records())[0]).toMatchObject({
      ...origin,
      actor: { kind: 'user', name: 'lee' },
      action: 'registry.token',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      result: 'refused',
      reason: 'not-allowed',
      detail: { actions: ['pull', 'push'] },
    });
    expect(await ask(undefined, '', 'repository:kim/web:pull')).toBe(200);
    expect((await records())[0]).toMatchObject({ actor: { kind: 'anonymous' }, reason: 'not-allowed' });
  });

  test('a worker whose attempt is over is recorded under its attempt; one that is current is not', async () => {
    const scope = 'repository:kim/web:push';
    const good = await worker(1, true);
    expect(await ask('$token', good.secret, scope)).toBe(200);
    expect(await records()).toEqual([]);
    const old = await worker(1, false);
    expect(await ask('$token', old.secret, scope)).toBe(401);
    expect(await records()).toMatchObject([
      {
        ...origin,
        actor: { kind: 'worker', name: old.attemptId },
        action: 'registry.token',
        target: { kind: 'repository', name: 'kim/web' },
        result: 'refused',
        reason: 'attempt-over',
      },
    ]);
    expect(JSON.stringify(await records())).not.toContain(old.secret);
  });

  test('a worker that reaches for another repository is recorded', async () => {
    const own = await worker(2, true);
    expect(await ask('$token', own.secret, 'repository:kim/other:push')).toBe(200);
    expect(await records()).toMatchObject([
      {
        actor: { kind: 'worker', name: own.attemptId },
        target: { name: 'kim/other' },
        reason: 'not-allowed',
        detail: { actions: ['push'] },
      },
    ]);
  });

  test('a token that nobody issued is recorded as some worker’s', async () => {
    expect(await ask('$token', 'eyJhbGciOiJub25lIn0.e30.')).toBe(401);
    expect(await records()).toMatchObject([
      { actor: { kind: 'worker', name: 'unknown' }, result: 'refused', reason: 'wrong-credentials' },
    ]);
  });
});

describe('robots', () => {
  const base = { namespace: 'kim', name: 'base' };

  test('are recorded as robots, whatever they do', async () => {
    const { token } = await accounts.robots.create({ namespace: 'kim', short: 'ci' });
    expect(await ask('kim+ci', token, 'repository:kim/web:pull')).toBe(200);
    expect(await records()).toMatchObject([
      { actor: { kind: 'robot', name: 'kim+ci' }, action: 'registry.token', reason: 'not-allowed' },
      {
        actor: { kind: 'robot', name: 'kim+ci' },
        action: 'sign-in',
        target: { kind: 'robot', name: 'kim+ci', namespace: 'kim' },
      },
    ]);
    expect(await ask('kim+ci', 'wrong')).toBe(401);
    expect((await records())[0]).toMatchObject({
      actor: { kind: 'anonymous' },
      target: { kind: 'robot', name: 'kim+ci' },
      result: 'refused',
    });
  });

  test('a build that pulls as one reads what the robot may read, and only while there is that robot', async () => {
    await accounts.createRepository(base, { visibility: 'private' });
    await accounts.robots.create({ namespace: 'kim', short: 'ci' });
    await accounts.setPermission(base, 'kim+ci', 'admin');
    const { secret } = await worker(1, true, 'kim+ci');
    const given = async (actions: string, repository = 'kim/base') => {
      const response = await fetch(`${url}?scope=repository:${repository}:${actions}`, {
        headers: { authorization: `Basic ${Buffer.from(`$token:${secret}`).toString('base64')}` },
      });
      const { token } = (await response.json()) as { token: string };
      const [, payload = ''] = token.split('.');
      const { access } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as {
        access: { actions: string[] }[];
      };
      return access.flatMap((entry) => entry.actions);
    };
    // Its being an administrator of it gives a build no more than reading.
    expect(await given('pull,push')).toEqual(['pull']);
    expect(await given('pull,push', 'kim/web')).toEqual(['pull', 'push']);
    await accounts.users.change('kim', { enabled: false });
    expect(await given('pull')).toEqual([]);
    await accounts.users.change('kim', { enabled: true });
    expect(await given('pull')).toEqual(['pull']);
    await accounts.robots.delete({ namespace: 'kim', short: 'ci' });
    expect(await given('pull')).toEqual([]);
  });
});
