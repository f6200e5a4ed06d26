import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';
import { csrfToken } from '../account/session-secret.ts';
import type { AuditRecord } from '../audit/audit-log.ts';
import { systemClock } from '../base/clock.ts';
import type { LoginProvider } from '../login/login-provider.ts';
import { SqlNotices } from '../trigger/sql-notices.ts';
import { parseTriggerId } from '../trigger/trigger.ts';
import { auditRules } from './audit-rules.ts';

const source = { archive_url: 'https://sources.example/source.tar.gz?key=hunter2' };
const repository = '/api/v1/repository/kim/web';
const registries = '/api/v1/organization/kim/registries';
/** Of a server that takes every login and upload; its port comes later. */
const registrySettings = {
  host: '',
  prefix: 'team',
  username: 'robot',
  use: ['push', 'pull'],
  insecure: true,
};

/** Where people are sent to, and nobody comes back from. */
const elsewhere: LoginProvider = {
  id: 'elsewhere',
  name: 'Elsewhere',
  begin: async () => new URL('https://elsewhere.example/authorize'),
  finish: async () => {
    throw new TypeError('nobody comes back');
  },
};

let server: ApiHarness;
let registry: Server;
let token: string;
let tokenId: string;
let superuser: string;
let buildId: string;
/** The number of the last record before the test. */
let last: number;

beforeAll(async () => {
  registry = createServer(({ method }, response) => {
    const status = method === 'POST' ? 202 : 200;
    response.writeHead(status, { location: '/v2/an-upload' }).end();
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  registrySettings.host = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
  // Requests were written down before the port was known.
  for (const { body } of Object.values(calls))
    if (typeof body === 'object' && body !== null && 'host' in body) body.host = registrySettings.host;
  server = await startApiServer({
    options: { trustedProxies: ['127.0.0.1'] },
    providers: [elsewhere],
    allowHosts: [registrySettings.host],
  });
  token = await server.addUser('kim');
  tokenId = (await server.accounts.tokens('kim'))[0]?.id ?? '';
  superuser = await server.addUser('root', { superuser: true });
  await server.addUser('lee');
  await server.addRepository('kim/web');
  await server.accounts.organizations.create({ name: 'acme', owner: 'kim' });
  await server.accounts.teams.set('acme', 'devs', {});
  await server.addRepository('acme/app');
  const body = { name: 'kept', ...registrySettings, password: 'hunter2' };
  expect((await server.call('POST', registries, { token, body })).status).toBe(201);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  registry.close();
});

const newest = async (): Promise<readonly AuditRecord[]> => await server.audit.records({ limit: 1_000 });
const since = async () => (await newest()).filter(({ number }) => number > last);

beforeEach(async () => {
  const { json } = await server.call('POST', `${repository}/build`, { token, body: source });
  buildId = String(json.id);
  last = (await newest())[0]?.number ?? 0;
});

interface Operation {
  readonly operationId: string;
}

async function operations(): Promise<readonly { method: string; id: string }[]> {
  const { json } = await server.call('GET', '/api/v1/openapi.json');
  const paths = json.paths as Record<string, Record<string, Operation>>;
  return Object.values(paths).flatMap((methods) =>
    Object.entries(methods).map(([method, { operationId }]) => ({ method, id: operationId })),
  );
}

test('every route that changes something says what its record is, and every rule has its route', async () => {
  const all = await operations();
  const changing = all.filter(({ method }) => method !== 'get').map(({ id }) => id);
  expect(changing.length).toBeGreaterThan(8);
  expect(changing.filter((id) => !Object.hasOwn(auditRules, id))).toEqual([]);
  const known = new Set(all.map(({ id }) => id));
  expect(Object.keys(auditRules).filter((id) => !known.has(id))).toEqual([]);
  // And each has its row below; connecting with a host, which needs one, is in trigger-connections.test.ts.
  const elsewhere = new Set(['finishTriggerConnection', 'finishGitlabConnection']);
  const always = Object.entries(auditRules).filter(
    ([id, { superusersOnly, only }]) => superusersOnly !== true && only === undefined && !elsewhere.has(id),
  );
  expect(Object.keys(calls).sort()).toEqual(always.map(([id]) => id).sort());
});

interface Call {
  readonly method: string;
  readonly path: () => string;
  readonly body?: unknown;
  readonly as?: 'superuser' | 'browser' | 'form';
  readonly before?: () => Promise<unknown>;
  readonly status: number;
  readonly record: (answer: Record<string, unknown>) => Partial<AuditRecord>;
}

let triggerId = '';
let deliveryId = '';
let noticeId = '';

/** A custom trigger of `kim/web`. */
async function newTrigger(active = true): Promise<void> {
  const { triggers } = server.triggers;
  const { id } = await triggers.create(
    { namespace: 'kim', name: 'web' },
    { service: 'custom-git', user: 'kim' },
  );
  triggerId = id;
  if (!active) return;
  const config = { build_source: 'ssh://git@git.example/app.git' };
  await triggers.activate(id, { config, origin: server.url }, new AbortController().signal);
}
const triggerPath = () => `${repository}/trigger/${triggerId}`;
const ofTrigger = (action: string, detail: Record<string, string | boolean | string[]> = {}) => ({
  action,
  target: { kind: 'trigger', name: triggerId, namespace: 'kim' } as const,
  detail: { repository: 'kim/web', ...detail },
});

/** Of the session a browser has, for those calls that are made by one. */
let session = { id: '', headers: {} as Record<string, string>, csrf: '', form: '' };

async function newSession(): Promise<void> {
  const { secret, session: made } = await server.sessions.open({ username: 'kim', way: 'password' });
  const form = 'F'.repeat(43);
  const cookie = `slipway=${secret}; slipway-form=${form}`;
  const csrf = csrfToken(secret);
  session = {
    id: made.id,
    headers: { cookie, 'x-csrf-token': csrf },
    csrf,
    form: csrfToken(form, 'form'),
  };
}

const kim = { kind: 'user', name: 'kim', namespace: 'kim' } as const;

let file = { id: '', url: '' };
let connection = '';
const ofWeb = { kind: 'repository', name: 'kim/web', namespace: 'kim' } as const;

/** One request to each route that is recorded, and what its one record says. */
const calls: Readonly<Record<string, Call>> = {
  createRepo: {
    method: 'POST',
    path: () => '/api/v1/repository',
    body: { repository: 'app', visibility: 'public' },
    status: 201,
    record: () => ({
      action: 'repository.create',
      target: { kind: 'repository', name: 'kim/app', namespace: 'kim' },
      detail: { visibility: 'public' },
    }),
  },
  deleteRepository: {
    method: 'DELETE',
    path: () => '/api/v1/repository/kim/gone',
    before: () => server.addRepository('kim/gone'),
    status: 204,
    record: () => ({
      action: 'repository.delete',
      target: { kind: 'repository', name: 'kim/gone', namespace: 'kim' },
    }),
  },
  changeUserPermissions: {
    method: 'PUT',
    path: () => `${repository}/permissions/user/lee`,
    body: { role: 'write' },
    status: 200,
    record: () => ({
      action: 'permission.set',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      detail: { user: 'lee', role: 'write' },
    }),
  },
  deleteUserPermissions: {
    method: 'DELETE',
    path: () => `${repository}/permissions/user/lee`,
    before: () => server.accounts.setPermission({ namespace: 'kim', name: 'web' }, 'lee', 'read'),
    status: 204,
    record: () => ({
      action: 'permission.remove',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      detail: { user: 'lee' },
    }),
  },
  changeRepoLimits: {
    method: 'PUT',
    path: () => `${repository}/limits`,
    body: { concurrency: 2 },
    status: 200,
    record: () => ({
      action: 'repository.limits',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      detail: { concurrency: 2 },
    }),
  },
  changeRepoTarget: {
    method: 'PUT',
    path: () => `${repository}/target`,
    body: { registry: 'kept' },
    status: 200,
    record: () => ({
      action: 'repository.target',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      detail: { registry: 'kept', path: 'team/web' },
    }),
  },
  deleteRepoTarget: {
    method: 'DELETE',
    path: () => `${repository}/target`,
    status: 204,
    record: () => ({
      action: 'repository.target',
      target: { kind: 'repository', name: 'kim/web', namespace: 'kim' },
      detail: { registry: 'none' },
    }),
  },
  createRegistry: {
    method: 'POST',
    path: () => registries,
    body: { name: 'new', ...registrySettings, password: 'hunter2' },
    status: 201,
    record: () => ({
      action: 'registry.create',
      target: { kind: 'registry', name: 'kim/new', namespace: 'kim' },
      detail: registrySettings,
    }),
  },
  changeRegistry: {
    method: 'PUT',
    path: () => `${registries}/kept`,
    body: { ...registrySettings, password: 'hunter2' },
    status: 200,
    record: () => ({
      action: 'registry.change',
      target: { kind: 'registry', name: 'kim/kept', namespace: 'kim' },
      detail: { ...registrySettings, password: 'changed' },
    }),
  },
  testRegistry: {
    method: 'POST',
    path: () => `${registries}/kept/test`,
    status: 200,
    record: () => ({
      action: 'registry.test',
      target: { kind: 'registry', name: 'kim/kept', namespace: 'kim' },
      detail: { ok: true },
    }),
  },
  deleteRegistry: {
    method: 'DELETE',
    path: () => `${registries}/new`,
    status: 204,
    record: () => ({
      action: 'registry.delete',
      target: { kind: 'registry', name: 'kim/new', namespace: 'kim' },
    }),
  },
  changeNamespaceLimits: {
    method: 'PUT',
    path: () => '/api/v1/superuser/namespaces/kim/limits',
    body: { weight: 2, max_running: null },
    as: 'superuser',
    status: 200,
    record: () => ({
      action: 'namespace.limits',
      target: { kind: 'namespace', name: 'kim', namespace: 'kim' },
      detail: { weight: 2, max_running: 'none' },
    }),
  },
  requestRepoBuild: {
    method: 'POST',
    path: () => `${repository}/build`,
    body: { ...source, docker_tags: ['1.0'], secrets: { npm: Buffer.from('hunter2').toString('base64') } },
    status: 201,
    record: ({ id }) => ({
      action: 'build.request',
      target: { kind: 'build', name: String(id), namespace: 'kim' },
      detail: { repository: 'kim/web', source: 'archive', tags: ['1.0'], secrets: ['npm'] },
    }),
  },
  createBuildTrigger: {
    method: 'POST',
    path: () => `${repository}/trigger`,
    body: { service: 'custom-git' },
    status: 201,
    record: ({ id }) => {
      triggerId = String(id);
      return ofTrigger('trigger.create', { service: 'custom-git' });
    },
  },
  activateBuildTrigger: {
    method: 'POST',
    path: () => `${triggerPath()}/activate`,
    before: async () => await newTrigger(false),
    body: { config: { build_source: 'ssh://git@git.example/app.git', build_args: { KEY: 'hunter2' } } },
    status: 200,
    record: () => ofTrigger('trigger.activate', { source: 'ssh://git.example/app.git' }),
  },
  updateBuildTrigger: {
    method: 'PUT',
    path: triggerPath,
    before: async () => await newTrigger(),
    body: { enabled: false },
    status: 200,
    record: () => ofTrigger('trigger.update', { enabled: false }),
  },
  changeBuildTriggerConfig: {
    method: 'PUT',
    path: () => `${triggerPath()}/config`,
    before: async () => await newTrigger(),
    body: { config: { build_args: { KEY: 'hunter2' } } },
    status: 200,
    record: () => ofTrigger('trigger.configure', { changed: ['build_args'] }),
  },
  deleteBuildTrigger: {
    method: 'DELETE',
    path: triggerPath,
    before: async () => await newTrigger(),
    status: 204,
    record: () => ofTrigger('trigger.delete'),
  },
  manuallyStartBuildTrigger: {
    method: 'POST',
    path: () => `${triggerPath()}/start`,
    before: async () => await newTrigger(),
    body: { branch_name: 'main' },
    status: 201,
    record: ({ id }) => ofTrigger('trigger.start', { build: String(id) }),
  },
  redeliverToTrigger: {
    method: 'POST',
    path: () => `${triggerPath()}/deliveries/${deliveryId}/redeliver`,
    before: async () => {
      await newTrigger();
      const { triggers } = server.triggers;
      const id = parseTriggerId(triggerId);
      if (id === undefined) throw new TypeError('no trigger');
      const url = (await triggers.credentials(id, server.url)).at(-1)?.value ?? '';
      const push = { commit: '1'.repeat(40), ref: 'refs/heads/main', default_branch: 'main' };
      const body = Buffer.from(JSON.stringify(push));
      const headers = { 'content-type': 'application/json' };
      const { delivery } = await triggers.deliver(id, { headers, body }, new URL(url).password);
      deliveryId = delivery ?? '';
    },
    status: 201,
    record: () => ofTrigger('trigger.redeliver', { delivery: deliveryId }),
  },
  setTriggerSecret: {
    method: 'PUT',
    path: () => `${triggerPath()}/secrets/npm`,
    before: async () => await newTrigger(),
    body: { value: Buffer.from('hunter2').toString('base64') },
    status: 204,
    record: () => ofTrigger('trigger.secret.set', { secret: 'npm' }),
  },
  deleteTriggerSecret: {
    method: 'DELETE',
    path: () => `${triggerPath()}/secrets/npm`,
    before: async () => {
      await newTrigger();
      const id = parseTriggerId(triggerId);
      if (id !== undefined) await server.triggers.triggers.setSecret(id, 'npm', Buffer.from('hunter2'));
    },
    status: 204,
    record: () => ofTrigger('trigger.secret.remove', { secret: 'npm' }),
  },
  dismissRepoNotice: {
    method: 'DELETE',
    path: () => `${repository}/notices/${noticeId}`,
    before: async () => {
      await newTrigger();
      const id = parseTriggerId(triggerId);
      const trigger = id && (await server.triggers.triggers.find({ namespace: 'kim', name: 'web' }, id));
      if (trigger === undefined) throw new TypeError('no trigger');
      const notices = new SqlNotices({ database: server.database, clock: systemClock });
      await notices.add(server.database.sql, trigger, 'It was switched off.');
      noticeId = (await notices.list(trigger.repository, 1))[0]?.id ?? '';
    },
    status: 204,
    record: () => ({ action: 'notice.dismiss', target: ofWeb, detail: { notice: noticeId } }),
  },
  cancelRepoBuild: {
    method: 'DELETE',
    path: () => `${repository}/build/${buildId}`,
    status: 201,
    record: () => ({
      action: 'build.cancel',
      target: { kind: 'build', name: buildId, namespace: 'kim' },
      detail: { repository: 'kim/web' },
    }),
  },
  getRepoBuildLogsSuperUser: {
    method: 'GET',
    path: () => `/api/v1/superuser/kim/web/build/${buildId}/logs`,
    as: 'superuser',
    status: 200,
    record: () => ({
      action: 'build.logs.read',
      target: { kind: 'build', name: buildId, namespace: 'kim' },
    }),
  },
  getFiledropUrl: {
    method: 'POST',
    path: () => '/api/v1/filedrop',
    body: { mimeType: 'application/gzip' },
    status: 200,
    record: ({ file_id }) => ({
      action: 'file.create',
      target: { kind: 'file', name: String(file_id), namespace: 'kim' },
      detail: { type: 'application/gzip' },
    }),
  },
  putUserFile: {
    method: 'PUT',
    path: () => file.url,
    before: async () => {
      const body = { mimeType: 'application/gzip' };
      const { json } = await server.call('POST', '/api/v1/filedrop', { token, body });
      const { pathname, search } = new URL(String(json.url));
      file = { id: String(json.file_id), url: `${pathname}${search}` };
    },
    body: 'the bytes',
    status: 200,
    record: ({ checksum }) => ({
      actor: { kind: 'anonymous' },
      action: 'file.upload',
      target: { kind: 'file', name: file.id },
      detail: { size: 11, sha256: String(checksum) },
    }),
  },
  createUserToken: {
    method: 'POST',
    path: () => '/api/v1/user/tokens',
    body: { name: 'ci', scopes: ['repo:read'] },
    status: 201,
    record: ({ id }) => ({
      action: 'token.create',
      target: { kind: 'token', name: String(id), namespace: 'kim' },
      detail: { name: 'ci', scopes: ['repo:read'] },
    }),
  },
  revokeUserToken: {
    method: 'DELETE',
    path: () => `/api/v1/user/tokens/${file.id}`,
    before: async () => {
      file = {
        id: (await server.accounts.createToken('kim', { name: 'x', scopes: ['repo:read'] })).view.id,
        url: '',
      };
    },
    status: 204,
    record: () => ({
      action: 'token.revoke',
      target: { kind: 'token', name: file.id, namespace: 'kim' },
    }),
  },
  signinUser: {
    method: 'POST',
    path: () => '/api/v1/signin',
    body: () => ({ username: 'kim', password }),
    as: 'browser',
    status: 200,
    record: () => ({ action: 'sign-in', target: kim, detail: { door: 'browser', way: 'password' } }),
  },
  submitSigninForm: {
    method: 'POST',
    path: () => '/signin',
    body: () => ({ username: 'kim', password, csrf_token: session.form }),
    as: 'form',
    status: 303,
    record: () => ({ action: 'sign-in', target: kim, detail: { door: 'browser', way: 'password' } }),
  },
  signoutUser: {
    method: 'POST',
    path: () => '/api/v1/signout',
    as: 'browser',
    status: 204,
    record: () => ({ action: 'sign-out', target: kim }),
  },
  submitSignoutForm: {
    method: 'POST',
    path: () => '/signout',
    body: () => ({ csrf_token: session.csrf }),
    as: 'form',
    status: 303,
    record: () => ({ action: 'sign-out', target: kim }),
  },
  deleteUserSession: {
    method: 'DELETE',
    path: () => `/api/v1/user/sessions/${session.id}`,
    as: 'browser',
    status: 204,
    record: () => ({ action: 'session.end', target: kim, detail: { session: session.id } }),
  },
  deleteUserSessions: {
    method: 'DELETE',
    path: () => '/api/v1/user/sessions',
    as: 'browser',
    status: 200,
    record: ({ ended }) => ({ action: 'session.end', target: kim, detail: { ended: Number(ended) } }),
  },
  connectExternalLogin: {
    method: 'POST',
    path: () => '/api/v1/user/external-logins/elsewhere',
    as: 'browser',
    status: 200,
    record: () => ({ action: 'login.begin', target: kim, detail: { way: 'elsewhere' } }),
  },
  submitConnectForm: {
    method: 'POST',
    path: () => '/oauth2/elsewhere/link',
    body: () => ({ csrf_token: session.csrf }),
    as: 'form',
    status: 200,
    record: () => ({ action: 'login.begin', target: kim, detail: { way: 'elsewhere' } }),
  },
  disconnectExternalLogin: {
    method: 'DELETE',
    path: () => `/api/v1/user/external-logins/${connection}`,
    before: async () => {
      await server.logins?.identities.link('kim', 'elsewhere', { issuer: 'i', subject: 's', name: 'n' });
      connection = (await server.logins?.identities.list('kim'))?.[0]?.id ?? '';
    },
    as: 'browser',
    status: 204,
    record: () => ({ action: 'login.disconnect', target: kim, detail: { login: connection } }),
  },
  forgetGitHost: {
    method: 'DELETE',
    path: () => '/api/v1/superuser/git-hosts/git.example:2222',
    as: 'superuser',
    before: async () =>
      await server.hostKeys.record([{ host: 'git.example', port: 2222, type: 'ssh-ed25519', key: 'AAAA' }], {
        buildId: 'build-1',
        namespace: 'owner',
      }),
    status: 204,
    record: () => ({
      action: 'git_host.forget',
      target: { kind: 'server', name: 'git.example:2222' },
    }),
  },
  pruneBuilds: {
    method: 'POST',
    path: () => '/api/v1/superuser/prune',
    body: { keep_younger_than: '720h' },
    as: 'superuser',
    status: 200,
    record: () => ({
      action: 'builds.prune',
      detail: { keep_younger_than: '720h', confirm: false, builds: 0, uploads: 0 },
    }),
  },
  updateRepo: {
    method: 'PUT',
    path: () => repository,
    body: { description: 'the site' },
    status: 200,
    record: () => ({ action: 'repository.describe', target: ofWeb, detail: {} }),
  },
  changeRepoVisibility: {
    method: 'POST',
    path: () => `${repository}/changevisibility`,
    body: { visibility: 'private' },
    status: 200,
    record: () => ({
      action: 'repository.visibility',
      target: ofWeb,
      detail: { visibility: 'private' },
    }),
  },
  changeTeamPermissions: {
    method: 'PUT',
    path: () => '/api/v1/repository/acme/app/permissions/team/devs',
    body: { role: 'write' },
    status: 200,
    record: () => ({
      action: 'permission.set',
      target: { kind: 'repository', name: 'acme/app', namespace: 'acme' },
      detail: { team: 'devs', role: 'write' },
    }),
  },
  deleteTeamPermissions: {
    method: 'DELETE',
    path: () => '/api/v1/repository/acme/app/permissions/team/devs',
    before: () => server.accounts.teams.setPermission({ namespace: 'acme', name: 'app' }, 'devs', 'read'),
    status: 204,
    record: () => ({
      action: 'permission.remove',
      target: { kind: 'repository', name: 'acme/app', namespace: 'acme' },
      detail: { team: 'devs' },
    }),
  },
  createOrganization: {
    method: 'POST',
    path: () => '/api/v1/organization',
    body: { name: 'fresh' },
    status: 201,
    record: () => ({
      action: 'namespace.create',
      target: { kind: 'namespace', name: 'fresh', namespace: 'fresh' },
    }),
  },
  deleteAdminedOrganization: {
    method: 'DELETE',
    path: () => '/api/v1/organization/gone',
    before: () => server.accounts.organizations.create({ name: 'gone', owner: 'kim' }),
    status: 204,
    record: () => ({
      action: 'namespace.delete',
      target: { kind: 'namespace', name: 'gone', namespace: 'gone' },
    }),
  },
  removeOrganizationMember: {
    method: 'DELETE',
    path: () => '/api/v1/organization/acme/members/lee',
    before: () => server.accounts.teams.addMember('acme', 'devs', 'lee'),
    status: 204,
    record: () => ({
      action: 'namespace.member.remove',
      target: { kind: 'namespace', name: 'acme', namespace: 'acme' },
      detail: { user: 'lee' },
    }),
  },
  updateOrganizationTeam: {
    method: 'PUT',
    path: () => '/api/v1/organization/acme/team/makers',
    body: { role: 'creator', description: 'not recorded' },
    status: 200,
    record: () => ({
      action: 'team.set',
      target: { kind: 'team', name: 'acme/makers', namespace: 'acme' },
      detail: { role: 'creator', made: true },
    }),
  },
  deleteOrganizationTeam: {
    method: 'DELETE',
    path: () => '/api/v1/organization/acme/team/gone',
    before: () => server.accounts.teams.set('acme', 'gone', {}),
    status: 204,
    record: () => ({
      action: 'team.delete',
      target: { kind: 'team', name: 'acme/gone', namespace: 'acme' },
    }),
  },
  updateOrganizationTeamMember: {
    method: 'PUT',
    path: () => '/api/v1/organization/acme/team/devs/members/lee',
    status: 200,
    record: () => ({
      action: 'team.member.add',
      target: { kind: 'team', name: 'acme/devs', namespace: 'acme' },
      detail: { member: 'lee' },
    }),
  },
  deleteOrganizationTeamMember: {
    method: 'DELETE',
    path: () => '/api/v1/organization/acme/team/devs/members/lee',
    before: () => server.accounts.teams.addMember('acme', 'devs', 'lee'),
    status: 204,
    record: () => ({
      action: 'team.member.remove',
      target: { kind: 'team', name: 'acme/devs', namespace: 'acme' },
      detail: { member: 'lee' },
    }),
  },
  createUserRobot: {
    method: 'PUT',
    path: () => '/api/v1/user/robots/ci',
    body: { expires: '2100-01-01T00:00:00Z' },
    status: 201,
    record: () => ({
      action: 'robot.create',
      target: { kind: 'robot', name: 'kim+ci', namespace: 'kim' },
      detail: { expires: '2100-01-01T00:00:00.000Z' },
    }),
  },
  regenerateUserRobotToken: {
    method: 'POST',
    path: () => '/api/v1/user/robots/again/regenerate',
    before: () => server.accounts.robots.create({ namespace: 'kim', short: 'again' }),
    status: 200,
    record: () => ({
      action: 'robot.regenerate',
      target: { kind: 'robot', name: 'kim+again', namespace: 'kim' },
    }),
  },
  deleteUserRobot: {
    method: 'DELETE',
    path: () => '/api/v1/user/robots/gone',
    before: () => server.accounts.robots.create({ namespace: 'kim', short: 'gone' }),
    status: 204,
    record: () => ({
      action: 'robot.delete',
      target: { kind: 'robot', name: 'kim+gone', namespace: 'kim' },
    }),
  },
  createOrgRobot: {
    method: 'PUT',
    path: () => '/api/v1/organization/acme/robots/ci',
    body: { expires: '2100-01-01T00:00:00Z' },
    status: 201,
    record: () => ({
      action: 'robot.create',
      target: { kind: 'robot', name: 'acme+ci', namespace: 'acme' },
      detail: { expires: '2100-01-01T00:00:00.000Z' },
    }),
  },
  regenerateOrgRobotToken: {
    method: 'POST',
    path: () => '/api/v1/organization/acme/robots/again/regenerate',
    before: () => server.accounts.robots.create({ namespace: 'acme', short: 'again' }),
    status: 200,
    record: () => ({
      action: 'robot.regenerate',
      target: { kind: 'robot', name: 'acme+again', namespace: 'acme' },
    }),
  },
  deleteOrgRobot: {
    method: 'DELETE',
    path: () => '/api/v1/organization/acme/robots/gone',
    before: () => server.accounts.robots.create({ namespace: 'acme', short: 'gone' }),
    status: 204,
    record: () => ({
      action: 'robot.delete',
      target: { kind: 'robot', name: 'acme+gone', namespace: 'acme' },
    }),
  },
  changeInstallUser: {
    method: 'PUT',
    path: () => '/api/v1/superuser/users/pat',
    before: () => server.accounts.createUser({ username: 'pat', password }),
    body: { password: 'another secret password', revoke_tokens: true },
    as: 'superuser',
    status: 200,
    record: () => ({
      action: 'user.change',
      target: { kind: 'user', name: 'pat', namespace: 'pat' },
      detail: { password: 'set', revoke_tokens: true },
    }),
  },
  deleteInstallUser: {
    method: 'DELETE',
    path: () => '/api/v1/superuser/users/leaver',
    before: () => server.accounts.createUser({ username: 'leaver', password }),
    as: 'superuser',
    status: 204,
    record: () => ({
      action: 'user.delete',
      target: { kind: 'user', name: 'leaver', namespace: 'leaver' },
    }),
  },
  changeUserDetails: {
    method: 'PUT',
    path: () => '/api/v1/user',
    body: { current_password: password, password },
    status: 200,
    record: () => ({ action: 'user.password', target: { kind: 'user', name: 'kim', namespace: 'kim' } }),
  },
  createInstallUser: {
    method: 'POST',
    path: () => '/api/v1/superuser/users',
    body: { username: 'newcomer', password: 'a very secret password' },
    as: 'superuser',
    status: 201,
    record: () => ({
      action: 'user.create',
      target: { kind: 'user', name: 'newcomer', namespace: 'newcomer' },
    }),
  },
};

const bodyOf = ({ body }: Call): unknown => (typeof body === 'function' ? (body as () => unknown)() : body);
const wrongPassword = ({ path }: Call) => (path().endsWith('/signin') ? { password: 'wrong horse' } : {});

describe.each(Object.entries(calls))('%s', (operation, call) => {
  test('leaves exactly one record, of who, what, where and when', async () => {
    await call.before?.();
    await newSession();
    last = (await newest())[0]?.number ?? 0;
    const started = Date.now();
    const browser = call.as === 'browser' || call.as === 'form';
    const answer = await server.call(call.method, call.path(), {
      redirect: 'manual',
      ...(operation === 'putUserFile' || browser
        ? {}
        : { token: call.as === 'superuser' ? superuser : token }),
      ...(call.body === undefined ? {} : { body: bodyOf(call) }),
      headers: {
        'x-forwarded-for': '192.0.2.77',
        'user-agent': 'audit-test/1',
        ...(browser ? session.headers : {}),
      },
    });
    expect({ status: answer.status, detail: answer.json.detail }).toMatchObject({ status: call.status });
    const records = await since();
    expect(records).toHaveLength(1);
    expect(records[0]).toMatchObject({
      actor:
        call.as === 'superuser'
          ? { kind: 'user', name: 'root' }
          : { kind: 'user', name: 'kim', ...(browser ? {} : { tokenId }) },
      result: 'done',
      address: '192.0.2.77',
      userAgent: 'audit-test/1',
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      ...call.record(answer.json),
    });
    expect(records[0]?.at).toBeGreaterThanOrEqual(started);
    // Not what was given as a secret, nor what was made.
    const written = JSON.stringify(records);
    for (const secret of [
      'hunter2',
      'secret password',
      'slp_',
      'slr_',
      password,
      Buffer.from('hunter2').toString('base64'),
    ])
      expect(written).not.toContain(secret);
  });

  test('leaves exactly one record when it is refused, with the reason', async () => {
    const path = call.path();
    // A sign-in is refused for another reason than that nobody is signed in.
    const body =
      call.body === undefined ? undefined : { ...(bodyOf(call) as object), ...wrongPassword(call) };
    // Each from an address of its own: of one address not all refusals are recorded.
    const headers = { 'x-forwarded-for': `198.51.100.${Object.keys(calls).indexOf(operation)}` };
    const answer = await server.call(call.method, path, {
      headers,
      ...(body === undefined ? {} : { body }),
    });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    const page = call.as === 'form';
    const records = await since();
    expect(records).toMatchObject([
      {
        actor: { kind: 'anonymous' },
        action: auditRules[operation]?.action,
        result: answer.status === 401 || answer.status === 403 ? 'refused' : 'failed',
        reason: page ? 'csrf' : operation === 'signinUser' ? 'wrong-credentials' : answer.json.error_type,
      },
    ]);
  });
});

test('what is read leaves no record', async () => {
  for (const path of [
    repository,
    `${repository}/build`,
    `${repository}/build/${buildId}/logs`,
    '/api/v1/user',
  ])
    expect((await server.call('GET', path, { token })).status).toBe(200);
  expect(await since()).toEqual([]);
});

test('who reads a log only because of being a superuser leaves a record, wherever they read it', async () => {
  await server.call('DELETE', `${repository}/build/${buildId}`, { token });
  await server.logs.close(buildId as Parameters<typeof server.logs.close>[0]);
  const base = `${repository}/build/${buildId}/logs`;
  for (const path of [base, `${base}/stream`, `${base}/download`]) {
    last = (await newest())[0]?.number ?? 0;
    expect((await server.call('GET', path, { token: superuser })).status).toBe(200);
    expect(await since()).toMatchObject([
      {
        actor: { kind: 'user', name: 'root' },
        action: 'build.logs.read',
        target: { kind: 'build', name: buildId, namespace: 'kim' },
        result: 'done',
      },
    ]);
  }
  // Given a role of their own, they read as others do.
  await server.accounts.setPermission({ namespace: 'kim', name: 'web' } as never, 'root', 'write');
  last = (await newest())[0]?.number ?? 0;
  expect((await server.call('GET', base, { token: superuser })).status).toBe(200);
  expect(await since()).toEqual([]);
  await server.accounts.setPermission({ namespace: 'kim', name: 'web' } as never, 'root', undefined);
});

test('a build that ends because a newer one was asked for has a record of it', async () => {
  const asked = {
    git: { url: 'https://sources.example/app.git', ref: 'main' },
    newest_only: true,
  };
  const post = () => server.call('POST', `${repository}/build`, { token, body: asked });
  const old = await post();
  last = (await newest())[0]?.number ?? 0;
  const by = await post();
  expect(await since()).toMatchObject([
    { action: 'build.request' },
    {
      action: 'build.supersede',
      actor: { kind: 'user', name: 'kim' },
      target: { kind: 'build', name: old.json.id, namespace: 'kim' },
      detail: { repository: 'kim/web', superseded_by: by.json.id },
    },
  ]);
});

test('a request that was allowed and came to nothing is failed, with the code of the error', async () => {
  await server.call('DELETE', `${repository}/build/${buildId}`, { token });
  await server.call('DELETE', `${repository}/build/${buildId}`, { token });
  expect(await since()).toMatchObject([
    { action: 'build.cancel', result: 'failed', reason: 'invalid_request' },
    { action: 'build.cancel', result: 'done' },
  ]);
});

describe('signing in', () => {
  const basic = (username: string, secret: string) => ({
    authorization: `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`,
  });

  test('with a password is recorded, once for a while', async () => {
    for (let at = 0; at < 3; at += 1)
      await server.call('GET', '/api/v1/user', { headers: basic('lee', password) });
    expect(await since()).toMatchObject([
      {
        actor: { kind: 'user', name: 'lee' },
        action: 'sign-in',
        result: 'done',
        detail: { door: 'api', way: 'password' },
      },
    ]);
  });

  test('with a wrong password is recorded each time, then as locked; a changing request leaves no second record', async () => {
    const victim = await server.addUser('mel');
    expect(victim).not.toBe('');
    for (let at = 0; at < 7; at += 1)
      await server.call('POST', '/api/v1/repository', {
        headers: basic('mel', 'a guess'),
        body: { repository: 'x' },
      });
    const records = await since();
    expect(records).toHaveLength(7);
    for (const record of records)
      expect(record).toMatchObject({
        actor: { kind: 'anonymous' },
        action: 'sign-in',
        target: { kind: 'user', name: 'mel' },
        result: 'refused',
      });
    expect(records.map(({ reason }) => reason)).toContain('locked');
    expect(records.at(-1)?.reason).toBe('wrong-credentials');
    expect(JSON.stringify(records)).not.toContain('a guess');
  });

  test('under a name that is nobody’s does not keep what was typed', async () => {
    await server.call('GET', '/api/v1/user', { headers: basic('hunter2', 'x') });
    const records = await since();
    expect(records).toHaveLength(1);
    expect(JSON.stringify(records)).not.toContain('hunter2');
  });

  test('with a token that is not good is recorded without it', async () => {
    await server.call('GET', '/api/v1/user', { token: 'slp_wrong' });
    const records = await since();
    expect(records).toMatchObject([{ action: 'sign-in', result: 'refused', detail: { way: 'token' } }]);
    expect(JSON.stringify(records)).not.toContain('slp_');
  });
});

test('what was refused is recorded without what the body held, and tokens are hidden everywhere', async () => {
  const secret = `slp_${'A'.repeat(43)}`;
  const attempts = [
    [
      'POST',
      registries,
      { name: 'x', ...registrySettings, host: 'https://bob:hunter2@quay.example.com', password: 'p' },
    ],
    ['POST', '/api/v1/user/tokens', { name: 'hunter3', scopes: ['all'], expires: 'hunter4' }],
    ['POST', `${repository}/trigger/`, { service: 'ghp_secret' }],
    ['PUT', '/api/v1/user/robots/new', { expires: 'hunter4' }],
    ['POST', '/api/v1/organization', { name: 'https://bob:hunter5@quay.example.com' }],
    ['DELETE', `/api/v1/user/robots/${secret}`, undefined],
  ] as const;
  for (const [method, path, body] of attempts) {
    const answer = await server.call(method, path, { token, ...(body === undefined ? {} : { body }) });
    expect(answer.status).toBeGreaterThanOrEqual(400);
  }
  const made = { name: secret, scopes: ['repo:read'] };
  expect((await server.call('POST', '/api/v1/user/tokens', { token, body: made })).status).toBe(201);
  const records = await since();
  expect(records).toHaveLength(attempts.length + 1);
  expect(records[0]?.detail).toMatchObject({ name: 'slp_REDACTED', scopes: ['repo:read'] });
  const written = JSON.stringify(records);
  for (const hidden of ['hunter', 'ghp_secret', secret, 'A'.repeat(20)])
    expect(written).not.toContain(hidden);
});

test('a flood of refusals does not fill the log', async () => {
  const flooded = await startApiServer();
  try {
    for (let at = 0; at < 70; at += 1) await flooded.call('DELETE', '/api/v1/repository/kim/web');
    // Neither by what is refused nor by what makes no sense.
    for (let at = 0; at < 70; at += 1) await flooded.call('PUT', '/userfiles/nothing');
    const records = await flooded.audit.records({ limit: 1_000 });
    expect(records).toHaveLength(60);
  } finally {
    await flooded[Symbol.asyncDispose]();
  }
});

describe('reading the log', () => {
  const list = async (path: string, as: string) => await server.call('GET', path, { token: as });

  test('superusers see all of it, by filters, in pages', async () => {
    const all: unknown[] = [];
    let next: unknown = '';
    for (let pages = 0; next !== undefined && pages < 100; pages += 1) {
      const query = next === '' ? '' : `&next_page=${String(next)}`;
      const { status, json } = await list(`/api/v1/superuser/audit?limit=7${query}`, superuser);
      expect(status).toBe(200);
      all.push(...(json.records as unknown[]));
      next = json.next_page;
    }
    expect(all).toHaveLength((await newest()).length);
    const { json } = await list(
      '/api/v1/superuser/audit?actor=kim&action=build.*&namespace=kim&result=done&since=2020-01-01T00:00:00Z',
      superuser,
    );
    const records = json.records as { actor: { name: string }; action: string }[];
    expect(records.length).toBeGreaterThan(3);
    expect(new Set(records.map(({ actor }) => actor.name))).toEqual(new Set(['kim']));
    expect([...new Set(records.map(({ action }) => action))].sort()).toEqual([
      'build.cancel',
      'build.request',
      'build.supersede',
    ]);
    expect((await list('/api/v1/superuser/audit?since=tomorrow', superuser)).status).toBe(400);
    const none = await list('/api/v1/superuser/audit?until=1000', superuser);
    expect(none.json.records).toEqual([]);
  });

  test('administrators of a namespace see what was done in it, others nothing', async () => {
    const own = await list('/api/v1/organization/kim/audit?limit=1000', token);
    const records = own.json.records as { target: { namespace: string } | null }[];
    expect(records.length).toBeGreaterThan(3);
    expect(new Set(records.map(({ target }) => target?.namespace))).toEqual(new Set(['kim']));
    expect((await list('/api/v1/organization/root/audit', token)).status).toBe(403);
    expect((await list('/api/v1/superuser/audit', token)).status).toBe(403);
    // A role on one repository is not the namespace.
    await server.accounts.setPermission({ namespace: 'kim', name: 'web' }, 'lee', 'admin');
    const lee = (await server.accounts.createToken('lee', { name: 't', scopes: ['repo:admin'] })).token;
    expect((await list('/api/v1/organization/kim/audit', lee)).status).toBe(403);
  });
});

test('what could not be recorded is not answered as done', async () => {
  const broken = await startApiServer();
  try {
    const own = await broken.addUser('kim');
    const { sql } = await import('kysely');
    await sql`drop table audit_records`.execute(broken.database.sql);
    const answer = await broken.call('POST', '/api/v1/repository', {
      token: own,
      body: { repository: 'web' },
    });
    expect([answer.status, answer.json.error_type]).toEqual([503, 'unavailable']);
    expect(broken.logged.join('')).toContain('"action":"repository.create"');
  } finally {
    await broken[Symbol.asyncDispose]();
  }
});
