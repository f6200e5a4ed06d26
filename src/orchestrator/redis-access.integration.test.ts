import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createClient } from 'redis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRedis, type TestRedis } from '../../test/services/redis.ts';
import { systemClock } from '../base/clock.ts';
import { newAttemptId } from '../model/ids.ts';
import { OrchestratorError } from './orchestrator-error.ts';
import { RedisOrchestrator, type RedisOrchestratorOptions } from './redis-orchestrator.ts';
import type { RedisServer } from './redis-session.ts';

/** How a Redis is got into: passwords, certificates, databases, rights. */

const run = promisify(execFile);

async function open(
  server: RedisServer,
  options: Partial<RedisOrchestratorOptions> = {},
): Promise<RedisOrchestrator> {
  return await RedisOrchestrator.open({
    server,
    prefix: `${randomUUID()}/`,
    clock: systemClock,
    timing: { writeEvery: 10, lookEvery: 20, scanEvery: 100, patience: 5_000 },
    ...options,
  });
}

/** Why it does not start. */
async function failure(server: RedisServer): Promise<OrchestratorError> {
  try {
    await (await open(server)).close();
  } catch (thrown) {
    if (thrown instanceof OrchestratorError) return thrown;
    throw thrown;
  }
  throw new Error('it started');
}

/** Does what an orchestrator is for: two managers see a beat, and are told of its expiry. */
async function works(
  server: RedisServer,
  { prefix = `${randomUUID()}/`, ...options }: Partial<RedisOrchestratorOptions> = {},
): Promise<void> {
  const [one, other] = [
    await open(server, { ...options, prefix }),
    await open(server, { ...options, prefix }),
  ];
  const expired: string[] = [];
  const attempt = newAttemptId();
  other.subscribe((event) => {
    if (event.kind === 'expired') expired.push(event.attemptId);
  });
  await one.beat(attempt, 700);
  await until('the beat', async () => (await other.lastBeat(attempt)) !== undefined);
  await until('its expiry', () => expired.length > 0);
  expect(expired).toEqual([attempt]);
  await Promise.all([one.close(), other.close()]);
}

async function until(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !(await look()); await sleep(10)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

const at = ({ port }: TestRedis, more: Partial<RedisServer> = {}): RedisServer => ({
  host: '127.0.0.1',
  port,
  database: 0,
  ...more,
});

async function administer({ port }: TestRedis) {
  return await createClient({ socket: { host: '127.0.0.1', port } })
    .on('error', () => {})
    .connect();
}

let plain: TestRedis;
let folder: string;

beforeAll(async () => {
  plain = await startRedis();
  folder = await mkdtemp(join(tmpdir(), 'slipway-test-certificates-'));
});
afterAll(async () => {
  await plain[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test('a password is used; a wrong one, a missing one and a needless one end the start and say what to do', async () => {
  const password = 'quite: a "secret" / password';
  await using redis = await startRedis({ settings: () => ['--requirepass', password] });
  await works(at(redis, { password }));
  const wrong = await failure(at(redis, { password: 'mistyped-password' }));
  expect(wrong.code).toBe('wrong-password');
  expect(wrong.message).toContain(`127.0.0.1:${redis.port}`);
  expect(wrong.message).toContain('REDIS_PASSWORD');
  expect(`${wrong.message} ${String(wrong.stack)}`).not.toContain('mistyped-password');
  const missing = await failure(at(redis));
  expect(missing.code).toBe('wrong-password');
  expect(missing.message).toContain('set REDIS_PASSWORD');
  const needless = await failure(at(plain, { password }));
  expect(needless.code).toBe('wrong-password');
  expect(needless.message).toContain('remove it');
  expect(needless.message).not.toContain(password);
});

test('a password that becomes wrong later is reported, and the right one helps without a restart', async () => {
  await using redis = await startRedis({ settings: () => ['--requirepass', 'first'] });
  const codes: string[] = [];
  const orchestrator = await open(at(redis, { password: 'first' }), {
    timing: { patience: 2_000, backOff: { first: 20, cap: 50 } },
    onState: (state) => codes.push(state.kind === 'disconnected' ? state.error.code : state.kind),
  });
  const admin = await createClient({
    socket: { host: '127.0.0.1', port: redis.port, reconnectStrategy: false },
    password: 'first',
  })
    .on('error', () => {})
    .connect();
  await admin.configSet('requirepass', 'second');
  await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']);
  await until('it to be refused', () => codes.includes('wrong-password'));
  await admin.configSet('requirepass', 'first');
  await until('it to be back', () => orchestrator.connected);
  admin.destroy();
  await orchestrator.close();
});

test('a database that is not there ends the start and says so', async () => {
  const error = await failure(at(plain, { database: 99 }));
  expect(error.code).toBe('no-such-database');
  expect(error.message).toContain('REDIS_DB');
});

test('flags are only added, also those of an alias, and left alone when the set-up is skipped', async () => {
  const admin = await administer(plain);
  const flags = async () =>
    [...((await admin.configGet('notify-keyspace-events'))['notify-keyspace-events'] ?? '')].toSorted();
  for (const [before, after] of [
    ['', ['K', 'x']],
    ['E$', ['$', 'E', 'K', 'x']],
    ['AE', ['A', 'E', 'K']],
    ['Kg', ['K', 'g', 'x']],
    ['KEg$lshzxe', ['$', 'E', 'K', 'e', 'g', 'h', 'l', 's', 'x', 'z']],
  ] as const) {
    await admin.configSet('notify-keyspace-events', before);
    await works(at(plain));
    expect(await flags()).toEqual(after);
  }
  await admin.configSet('notify-keyspace-events', 'E$');
  await works(at(plain), { skipKeyspaceEventSetup: true });
  expect(await flags()).toEqual(['$', 'E']);
  await admin.configSet('notify-keyspace-events', '');
  admin.destroy();
});

test('an account without CONFIG gets a warning and works by looking', async () => {
  const admin = await administer(plain);
  await admin.sendCommand(['ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '&*', '+@all', '-config']);
  const warnings: OrchestratorError[] = [];
  const server = at(plain, { username: 'limited', password: 'pw' });
  await works(server, { onWarning: (error) => warnings.push(error) });
  expect(warnings.map(({ code }) => code)).toEqual(['forbidden', 'forbidden']);
  expect(warnings[0]?.message).toContain('REDIS_SKIP_KEYSPACE_EVENT_SETUP');
  warnings.length = 0;
  await works(server, { onWarning: (error) => warnings.push(error), skipKeyspaceEventSetup: true });
  expect(warnings).toEqual([]);
  await admin.sendCommand(['ACL', 'DELUSER', 'limited']);
  admin.destroy();
});

test('the rights that the manual asks for are enough', async () => {
  const admin = await administer(plain);
  const prefix = randomUUID();
  const commands = (
    'hset hmget hgetall hdel pexpire set del publish subscribe psubscribe ping time select hello auth ' +
    'client|setname config|get config|set'
  ).split(' ');
  await admin.sendCommand([
    ...['ACL', 'SETUSER', 'least', 'reset', 'on', '>pw', `~${prefix}/*`],
    ...[`&${prefix}/*`, `&__keyspace@1__:${prefix}/beat:*`, ...commands.map((command) => `+${command}`)],
  ]);
  const troubles: unknown[] = [];
  await works(at(plain, { username: 'least', password: 'pw', database: 1 }), {
    prefix,
    onWarning: (error) => troubles.push(error),
    onState: (state) => {
      if (state.kind === 'disconnected') troubles.push(state.error);
    },
  });
  expect(troubles).toEqual([]);
  await admin.sendCommand(['ACL', 'DELUSER', 'least']);
  admin.destroy();
});

test('an account without channels gets a warning and works by looking', async () => {
  const admin = await administer(plain);
  await admin.sendCommand(['ACL', 'SETUSER', 'deaf', 'on', '>pw', '~*', 'resetchannels', '+@all']);
  const warnings: string[] = [];
  await works(at(plain, { username: 'deaf', password: 'pw' }), {
    onWarning: ({ code }) => warnings.push(code),
  });
  expect(warnings).toEqual(['forbidden', 'forbidden', 'forbidden', 'forbidden']);
  await admin.sendCommand(['ACL', 'DELUSER', 'deaf']);
  admin.destroy();
});

test('an account that may not use the keys is told so, and its managers expire nobody', async () => {
  const admin = await administer(plain);
  await admin.sendCommand(['ACL', 'SETUSER', 'keyless', 'on', '>pw', '~elsewhere*', '&*', '+@all']);
  const errors: string[] = [];
  const orchestrator = await open(at(plain, { username: 'keyless', password: 'pw' }), {
    onState: (state) => {
      if (state.kind === 'disconnected') errors.push(state.error.code);
    },
  });
  const attempt = newAttemptId();
  const expired: unknown[] = [];
  orchestrator.subscribe((event) => expired.push(event));
  await orchestrator.beat(attempt, 100);
  await until('it to be refused', () => errors.includes('forbidden'));
  await sleep(500);
  expect(expired).toEqual([]);
  await orchestrator.close();
  await admin.sendCommand(['ACL', 'DELUSER', 'keyless']);
  admin.destroy();
});

/** A certificate authority, and what it signs. */
async function authority(name: string) {
  const key = join(folder, `${name}.key`);
  const certificate = join(folder, `${name}.crt`);
  await openssl(
    'req',
    ...['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}`, '-keyout', key, '-out', certificate],
  );
  return {
    certificate,
    sign: async (subject: string, names: string) => {
      const made = {
        key: join(folder, `${name}-${subject}.key`),
        certificate: join(folder, `${name}-${subject}.crt`),
      };
      const request = join(folder, `${name}-${subject}.csr`);
      const extensions = join(folder, `${name}-${subject}.ext`);
      await writeFile(extensions, `subjectAltName=${names}\n`);
      await openssl(
        'req',
        ...['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
        ...['-subj', `/CN=${subject}`, '-keyout', made.key, '-out', request],
      );
      await openssl(
        'x509',
        ...['-req', '-in', request, '-CA', certificate, '-CAkey', key, '-CAcreateserial', '-days', '2'],
        ...['-extfile', extensions, '-out', made.certificate],
      );
      return made;
    },
  };
}

async function openssl(...args: string[]): Promise<void> {
  await run('openssl', args);
}

async function startTls(
  ca: string,
  server: { readonly key: string; readonly certificate: string },
): Promise<TestRedis> {
  return await startRedis({
    prepare: async (_folder, account) => {
      // The server's own account reads them.
      await chmod(folder, 0o755);
      for (const file of [ca, server.key, server.certificate]) {
        if (account !== undefined) await chown(file, account.uid, account.gid);
      }
    },
    // The later setting of a port wins.
    settings: (_folder, port) => [
      ...['--port', '0', '--tls-port', `${port}`, '--tls-auth-clients', 'yes'],
      ...['--tls-cert-file', server.certificate, '--tls-key-file', server.key, '--tls-ca-cert-file', ca],
    ],
  });
}

test('TLS with a private authority and a client certificate; every other way ends the start', async () => {
  const [ours, foreign] = [await authority('ours'), await authority('foreign')];
  const names = 'IP:127.0.0.1,DNS:localhost';
  const server = await ours.sign('server', names);
  const certificate = await ours.sign('client', names);
  const stranger = await foreign.sign('client', names);
  await using redis = await startTls(ours.certificate, server);
  const ca = ours.certificate;
  await works(at(redis, { tls: { ca, certificate } }));

  expect((await failure(at(redis, { tls: { ca: foreign.certificate, certificate } }))).code).toBe('tls');
  expect((await failure(at(redis, { tls: { certificate } }))).code).toBe('tls');
  expect((await failure(at(redis, { tls: { ca } }))).code).toBe('tls');
  expect((await failure(at(redis, { tls: { ca, certificate: stranger } }))).code).toBe('tls');
  // A Redis without TLS waits for the end of what it takes for a command.
  let hint = '';
  const waiting = await open(at(plain, { tls: { ca, certificate } }), {
    timing: { patience: 500 },
    onState: (state) => {
      hint = state.kind === 'disconnected' ? state.error.message : state.kind;
    },
  });
  expect(hint).toContain('does not speak TLS');
  await waiting.close();
  const lost = await failure(at(redis, { tls: { ca: join(folder, 'nowhere.crt') } }));
  expect(lost.code).toBe('certificate-file');
  expect(lost.message).toContain('nowhere.crt');
  expect(lost.message).toContain('REDIS_CA_CERT');
});

test('a certificate for another host is not believed', async () => {
  const ours = await authority('other-host');
  const server = await ours.sign('server', 'DNS:elsewhere.example');
  const certificate = await ours.sign('client', 'DNS:client.example');
  await using redis = await startTls(ours.certificate, server);
  const error = await failure(at(redis, { tls: { ca: ours.certificate, certificate } }));
  expect(error.code).toBe('tls');
  expect(error.message).toContain('made out to this host');
});

test('a certificate that was renewed is used by the next connection', async () => {
  const ours = await authority('renewed');
  const names = 'IP:127.0.0.1';
  const server = await ours.sign('server', names);
  const certificate = await ours.sign('client', names);
  await using redis = await startTls(ours.certificate, server);
  const orchestrator = await open(at(redis, { tls: { ca: ours.certificate, certificate } }), {
    timing: { patience: 5_000, backOff: { first: 20, cap: 50 } },
  });
  await redis.end('SIGTERM');
  await until('it to notice', () => !orchestrator.connected);
  // Same files, other contents.
  await ours.sign('client', names);
  await redis.start();
  await until('it to be back', () => orchestrator.connected);
  await orchestrator.close();
});
