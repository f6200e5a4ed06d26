import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';
import { type ClientName, openClient, type RegistryClient } from './registry-client.ts';

const password = 'correct horse';
const refused = /unauthorized|denied|authentication required|invalid username|not authorized|forbidden/i;

let server: WholeServer;
let folder: string;
let writer: string;
let reader: string;

beforeAll(async () => {
  server = await startWholeServer();
  folder = path.join(tmpdir(), `slipway-clients-${randomBytes(8).toString('hex')}`);
  await mkdir(folder, { mode: 0o700 });
  const { accounts } = server;
  await accounts.createUser({ username: 'lee', password });
  for (const name of ['web', 'open'])
    await accounts.createRepository(
      { namespace: 'kim', name },
      { visibility: name === 'open' ? 'public' : 'private' },
    );
  writer = (await accounts.robots.create({ namespace: 'kim', short: 'writer' })).token;
  reader = (await accounts.robots.create({ namespace: 'kim', short: 'reader' })).token;
  await accounts.setPermission({ namespace: 'kim', name: 'web' }, 'kim+writer', 'write');
  await accounts.setPermission({ namespace: 'kim', name: 'web' }, 'kim+reader', 'read');
  const first = await openClient('skopeo', path.join(folder, 'first'));
  await first.login(server.host, 'kim', password);
  for (const name of ['web', 'open']) await first.push(`${server.host}/kim/${name}:v1`);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  // What one test is refused on purpose must not lock out the next.
  await server.database.sql.deleteFrom('login_failures').execute();
});

describe.each(['skopeo', 'buildah', 'podman'] as const)('%s', (name: ClientName) => {
  let client: RegistryClient;
  const image = (text: string) => `${server.host}/${text}`;
  beforeAll(async () => {
    client = await openClient(name, folder);
  });

  test('logs in as a user, with a token and as a robot, and not with what is wrong', async () => {
    const { token } = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:read'] });
    for (const [username, secret] of [
      ['kim', password],
      ['kim', token],
      ['$oauthtoken', token],
      ['kim+writer', writer],
    ] as const)
      await client.login(server.host, username, secret);
    for (const [username, secret] of [
      ['kim', 'not it'],
      ['lee', token],
      ['kim+writer', reader],
      ['kim+nobody', writer],
    ] as const)
      await expect(client.login(server.host, username, secret)).rejects.toThrow(refused);
  });

  test('does as a robot what the repository lets the robot do', async () => {
    await client.login(server.host, 'kim+writer', writer);
    await client.push(image(`kim/web:by-${name}`));
    await client.pull(image(`kim/web:by-${name}`));
    await expect(client.push(image('kim/open:v2'))).rejects.toThrow(refused);
    await client.login(server.host, 'kim+reader', reader);
    await client.pull(image('kim/web:v1'));
    await expect(client.push(image('kim/web:v2'))).rejects.toThrow(refused);
  });

  test('gets nothing out of a private repository of somebody else', async () => {
    await client.login(server.host, 'lee', password);
    await expect(client.pull(image('kim/web:v1'))).rejects.toThrow(refused);
    await expect(client.push(image('kim/web:v2'))).rejects.toThrow(refused);
    await client.pull(image('kim/open:v1'));
  });

  test('pulls what is public without a login, and pushes nothing', async () => {
    await client.logout(server.host);
    await client.pull(image('kim/open:v1'));
    await expect(client.push(image('kim/open:v2'))).rejects.toThrow(refused);
    await expect(client.pull(image('kim/web:v1'))).rejects.toThrow(refused);
  });

  test('is refused with the login it kept once the token is revoked or the user disabled', async () => {
    const { token, view } = await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:read'] });
    await client.login(server.host, 'kim', token);
    await client.pull(image('kim/web:v1'));
    await expect(client.push(image('kim/web:v2'))).rejects.toThrow(refused);
    await server.accounts.revokeToken('kim', view.id);
    await expect(client.pull(image('kim/web:v1'))).rejects.toThrow(refused);

    const username = `mel-${name}`;
    await server.accounts.createUser({ username, password });
    const repository = { namespace: username, name: 'app' };
    await server.accounts.createRepository(repository, { visibility: 'private' });
    const robot = await server.accounts.robots.create({ namespace: username, short: 'ci' });
    await server.accounts.setPermission(repository, `${username}+ci`, 'write');
    await client.login(server.host, username, password);
    await client.push(image(`${username}/app:v1`));
    await server.accounts.users.change(username, { enabled: false });
    await expect(client.pull(image(`${username}/app:v1`))).rejects.toThrow(refused);
    await expect(client.login(server.host, username, password)).rejects.toThrow(refused);
    await expect(client.login(server.host, `${username}+ci`, robot.token)).rejects.toThrow(refused);
  });
});

test('docker logs in as a user and as a robot, and not with what is wrong', async () => {
  const run = promisify(execFile);
  const login = async (username: string, secret: string) => {
    const asking = run(
      'docker',
      ['--config', path.join(folder, 'docker'), 'login', '-u', username, '--password-stdin', server.host],
      // No daemon: the client asks the registry itself.
      { env: { ...process.env, DOCKER_HOST: `unix://${folder}/none.sock` }, timeout: 60_000 },
    );
    asking.child.stdin?.end(secret);
    return (await asking).stdout;
  };
  expect(await login('kim', password)).toContain('Login Succeeded');
  expect(await login('kim+reader', reader)).toContain('Login Succeeded');
  await expect(login('kim+reader', writer)).rejects.toThrow(refused);
  await expect(login('kim', 'not it')).rejects.toThrow(refused);
});

test('the catalogue is hidden from everybody', async () => {
  for (const credentials of [undefined, `kim:${password}`, `kim+writer:${writer}`]) {
    const headers: Record<string, string> =
      credentials === undefined
        ? {}
        : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` };
    const scope = encodeURIComponent('registry:catalog:*');
    const answer = await fetch(`${server.url}/v2/auth?service=slipway-registry&scope=${scope}`, { headers });
    const { token } = (await answer.json()) as { token: string };
    const catalogue = await fetch(`${server.url}/v2/_catalog`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(await catalogue.text()).not.toContain('kim/');
    expect([401, 403, 404]).toContain(catalogue.status);
  }
});
