import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';
import { csrfToken } from '../account/session-secret.ts';

/**
 * `narrow` is the admin with a token that may only read; `robot` may write the repository; `owner` has the namespace of
 * the repository and administers the organization `acme`, of which `member` is in a team; `other` is nothing anywhere.
 * `powerless` is a superuser whose token lacks `super:user`; `robotAdmin` administers the repository, `foreignRobot` is of
 * another namespace; `creator` and `teamAdmin` are in teams of `acme` of that role; `disabled` and `expired` were admins.
 */
const roles = [
  'anonymous',
  'other',
  'reader',
  'writer',
  'admin',
  'superuser',
  'narrow',
  'owner',
  'robot',
  'member',
  'powerless',
  'robotAdmin',
  'foreignRobot',
  'creator',
  'teamAdmin',
  'disabled',
  'expired',
] as const;
type RoleName = (typeof roles)[number];

/** What a route answers each role, on the private repository `owner/web` or on the organization `acme`. */
type Row = Readonly<Record<RoleName, number>> & { readonly body?: unknown };

/**
 * Who comes with the cookie of a browser's session, and with its CSRF token unless it says otherwise. A session is worth
 * what its user is, and one that has ended what nobody is: `as` is the role whose answer it gets.
 */
const browsers = {
  'session of the owner': { as: 'owner', username: 'owner', csrf: 'own' },
  'session of a stranger': { as: 'other', username: 'other', csrf: 'own' },
  'session of a superuser': { as: 'superuser', username: 'superuser', csrf: 'own' },
  'session that has ended': { as: 'anonymous', username: 'owner', csrf: 'own' },
  'session of a user who was disabled': { as: 'anonymous', username: 'disabled', csrf: 'own' },
  'session without CSRF token': { as: 'superuser', username: 'superuser', csrf: 'none' },
  'session with the CSRF token of another one': { as: 'superuser', username: 'superuser', csrf: 'foreign' },
} as const satisfies Readonly<
  Record<string, { as: RoleName; username: string; csrf: 'own' | 'none' | 'foreign' }>
>;
type BrowserName = keyof typeof browsers;

/** Nobody knows who these are, or may know them any more. */
const unknown: readonly RoleName[] = ['anonymous', 'disabled', 'expired'];

/** These get the status; all others who are signed in are refused, and who is not is told to. */
function only(allowed: readonly RoleName[], status: number, body?: unknown): Row {
  const answers = roles.map((role) => [
    role,
    allowed.includes(role) ? status : unknown.includes(role) ? 401 : 403,
  ]);
  return { ...(Object.fromEntries(answers) as Record<RoleName, number>), body };
}

const people = [
  'other',
  'reader',
  'writer',
  'admin',
  'superuser',
  'owner',
  'member',
  'powerless',
  'creator',
  'teamAdmin',
] as const;
const robots = ['robot', 'robotAdmin', 'foreignRobot'] as const;
/** Credentials that are no good are refused where none are needed too. */
const everybody = (status: number, body?: unknown) =>
  only(['anonymous', ...people, ...robots, 'narrow'], status, body);
/** Who asks is not looked at. */
const unasked = (status: number, body?: unknown) => only(roles, status, body);
const users = (status: number, body?: unknown) => only([...people, 'narrow'], status, body);
const accounts = (status: number, body?: unknown) => only([...people, ...robots, 'narrow'], status, body);
const readers = (status: number) =>
  only(['reader', 'writer', 'admin', 'superuser', 'narrow', 'owner', 'robot', 'robotAdmin'], status);
const writers = (status: number, body?: unknown) =>
  only(['writer', 'admin', 'superuser', 'owner', 'robot', 'robotAdmin'], status, body);
const admins = (status: number, body?: unknown) =>
  only(['admin', 'superuser', 'owner', 'robotAdmin'], status, body);
/** What is done with an account at a host, or in one's own name, is not for robots. */
const adminUsers = (status: number, body?: unknown) => only(['admin', 'superuser', 'owner'], status, body);
const superusers = (status: number, body?: unknown) => only(['superuser'], status, body);
/** Needs the scope user:admin, or org:admin, whoever it is. */
const ownAccount = (status: number, body?: unknown) => only(people, status, body);
const namespaceAdmins = (status: number, body?: unknown) =>
  only(['superuser', 'owner', 'teamAdmin'], status, body);
const namespaceMembers = (status: number) =>
  only(['superuser', 'owner', 'member', 'creator', 'teamAdmin'], status);

const registries = '/api/v1/organization/{namespace}/registries';
const newRegistry = { host: '127.0.0.1:1', username: 'u', use: ['pull'] };

const repository = '/api/v1/repository/{namespace}/{repository}';
const build = `${repository}/build/{build}`;
const trigger = `${repository}/trigger/{trigger}`;
const organization = '/api/v1/organization/{namespace}';
const team = `${organization}/team/{team}`;

/** Every route of the API; one that is not here fails the test. */
const table: Readonly<Record<string, Row>> = {
  'get /api/v1/repository': everybody(200),
  // In the owner's namespace only who is admin of what is there learns that it is there.
  'post /api/v1/repository': adminUsers(409, { namespace: 'owner', repository: 'web' }),
  [`get ${repository}`]: readers(200),
  [`put ${repository}`]: writers(200, { description: 'the site' }),
  [`post ${repository}/changevisibility`]: admins(200, { visibility: 'private' }),
  // Its builds are not finished.
  [`delete ${repository}`]: admins(409),
  [`get ${repository}/permissions/user`]: admins(200),
  [`get ${repository}/permissions/user/{username}`]: admins(404),
  [`put ${repository}/permissions/user/{username}`]: admins(200, { role: 'read' }),
  [`delete ${repository}/permissions/user/{username}`]: admins(404),
  [`get ${repository}/permissions/team`]: admins(200),
  [`get ${repository}/permissions/team/{team}`]: admins(404),
  // A person's namespace has no teams.
  [`put ${repository}/permissions/team/{team}`]: admins(400, { role: 'read' }),
  [`delete ${repository}/permissions/team/{team}`]: admins(404),
  [`get ${repository}/target`]: readers(404),
  // There is no such registry.
  [`put ${repository}/target`]: admins(400, { registry: 'none' }),
  [`delete ${repository}/target`]: admins(204),
  [`get ${repository}/limits`]: readers(200),
  [`put ${repository}/limits`]: admins(200, { concurrency: 2 }),
  [`get ${repository}/build`]: readers(200),
  [`post ${repository}/build`]: writers(201, { archive_url: 'https://sources.example/source.tar.gz' }),
  [`get ${build}`]: readers(200),
  [`get ${build}/status`]: readers(200),
  // It is final.
  [`delete ${build}`]: admins(400),
  [`get ${build}/logs`]: writers(200),
  [`get ${build}/logs/stream`]: writers(200),
  [`get ${build}/logs/download`]: writers(200),
  [`get ${repository}/trigger`]: admins(200),
  [`post ${repository}/trigger`]: adminUsers(201, { service: 'custom-git' }),
  // For browsers only, whoever one is.
  [`post ${repository}/trigger/connect`]: adminUsers(400, { service: 'github' }),
  'get /oauth2/{host}/callback/trigger/{namespace}/{repository}': adminUsers(400),
  'get /oauth2/gitlab/callback/trigger': users(400),
  // Of an active trigger of a custom git repository: there is no host to ask, and it is active already.
  [`get ${trigger}`]: admins(200),
  [`put ${trigger}`]: admins(200, { enabled: true }),
  [`put ${trigger}/config`]: admins(200, { config: { context: '/' } }),
  // Whoever may deletes one that is not there.
  [`delete ${trigger}`]: admins(404),
  [`get ${trigger}/namespaces`]: adminUsers(400),
  [`post ${trigger}/sources`]: adminUsers(400, { namespace: 'owner' }),
  [`post ${trigger}/fields/{field}`]: admins(404, {}),
  [`post ${trigger}/subdir`]: adminUsers(200, {}),
  [`post ${trigger}/analyze`]: adminUsers(200, {
    config: { build_source: 'https://git.example.com/a/b.git' },
  }),
  [`post ${trigger}/activate`]: adminUsers(400, {
    config: { build_source: 'https://git.example.com/a/b.git' },
  }),
  [`post ${trigger}/start`]: adminUsers(201, { refs: { kind: 'branch', name: 'main' } }),
  [`get ${trigger}/builds`]: admins(200),
  [`get ${trigger}/deliveries`]: admins(200),
  [`post ${trigger}/deliveries/{delivery}/redeliver`]: adminUsers(404),
  [`get ${trigger}/secrets`]: admins(200),
  [`put ${trigger}/secrets/{secret}`]: admins(204, { value: 'aGVsbG8=' }),
  [`delete ${trigger}/secrets/{secret}`]: admins(404),
  [`get ${repository}/notices`]: admins(200),
  [`delete ${repository}/notices/{notice}`]: adminUsers(404),
  // Whoever one is says nothing: the trigger asks for its own proof.
  'post /webhooks/push/trigger/{trigger}': unasked(403, {}),
  'get /api/v1/builds': accounts(200),
  'post /api/v1/filedrop': accounts(200, { mimeType: 'application/gzip' }),
  // Without a signature nobody gets anywhere.
  'get /userfiles/{file}/{attempt}/{epoch}': unasked(400),
  'put /userfiles/{file}': unasked(400),
  'get /logarchive/{build}': unasked(400),
  // Without a password.
  'post /api/v1/signin': everybody(400, { username: 'kim' }),
  // Tokens have no session.
  'post /api/v1/signout': users(400),
  'get /api/v1/user/csrf': users(400),
  'get /api/v1/user/sessions': ownAccount(200),
  'delete /api/v1/user/sessions': ownAccount(200),
  'delete /api/v1/user/sessions/{session}': ownAccount(404),
  'get /api/v1/externallogins': everybody(200),
  'get /api/v1/user/external-logins': ownAccount(200),
  'post /api/v1/user/external-logins/{service}': ownAccount(400),
  'delete /api/v1/user/external-logins/{login}': ownAccount(404),
  'get /': everybody(200),
  'get /signin': everybody(200),
  'get /signin/pages.css': everybody(200),
  // Without the field that a form of this browser has.
  'post /signin': everybody(403, {}),
  'post /signout': everybody(403, {}),
  'get /oauth2/{service}': everybody(404),
  'get /oauth2/{service}/callback': everybody(404),
  'post /oauth2/{service}/link': everybody(403, {}),
  'get /api/v1/user': users(200),
  'put /api/v1/user': ownAccount(200, { current_password: password, password }),
  'get /api/v1/user/robots': ownAccount(200),
  'get /api/v1/user/robots/{robot}': ownAccount(404),
  'put /api/v1/user/robots/{robot}': ownAccount(201, { description: 'new' }),
  'delete /api/v1/user/robots/{robot}': ownAccount(404),
  'post /api/v1/user/robots/{robot}/regenerate': ownAccount(404),
  'get /api/v1/user/robots/{robot}/permissions': ownAccount(404),
  'get /api/v1/user/tokens': ownAccount(200),
  'post /api/v1/user/tokens': ownAccount(201, { name: 'one', scopes: ['repo:read'] }),
  'delete /api/v1/user/tokens/{token}': ownAccount(404),
  'get /api/v1/superuser/queue': superusers(200),
  'get /api/v1/superuser/namespaces/{namespace}/limits': superusers(200),
  'put /api/v1/superuser/namespaces/{namespace}/limits': superusers(200, { weight: 2, max_running: null }),
  'get /api/v1/superuser/users': superusers(200),
  'post /api/v1/superuser/users': superusers(201, { username: 'newcomer' }),
  'get /api/v1/superuser/users/{username}': superusers(404),
  'put /api/v1/superuser/users/{username}': superusers(404, { enabled: true }),
  'delete /api/v1/superuser/users/{username}': superusers(404),
  'get /api/v1/superuser/{namespace}/{repository}/build/{build}/logs': superusers(200),
  'post /api/v1/superuser/prune': superusers(200, { keep_younger_than: '720h' }),
  'get /api/v1/superuser/git-hosts': superusers(200),
  // None is kept.
  'delete /api/v1/superuser/git-hosts/{server}': superusers(404),
  'get /api/v1/superuser/audit': superusers(200),
  'get /api/v1/organization': users(200),
  'post /api/v1/organization': ownAccount(409, { name: 'acme' }),
  [`get ${organization}`]: namespaceMembers(200),
  // It has a repository.
  [`delete ${organization}`]: namespaceAdmins(409),
  [`get ${organization}/members`]: namespaceAdmins(200),
  [`delete ${organization}/members/{username}`]: namespaceAdmins(404),
  [`get ${organization}/audit`]: namespaceAdmins(200),
  [`put ${team}`]: namespaceAdmins(200, { description: 'who develops' }),
  [`delete ${team}`]: namespaceAdmins(404),
  [`get ${team}/members`]: namespaceMembers(200),
  [`put ${team}/members/{member}`]: namespaceAdmins(200),
  [`delete ${team}/members/{member}`]: namespaceAdmins(404),
  [`get ${team}/permissions`]: namespaceAdmins(200),
  [`get ${organization}/robots`]: namespaceAdmins(200),
  [`get ${organization}/robots/{robot}`]: namespaceAdmins(404),
  [`put ${organization}/robots/{robot}`]: namespaceAdmins(201),
  [`delete ${organization}/robots/{robot}`]: namespaceAdmins(404),
  [`post ${organization}/robots/{robot}/regenerate`]: namespaceAdmins(404),
  [`get ${organization}/robots/{robot}/permissions`]: namespaceAdmins(404),
  [`get ${registries}`]: namespaceAdmins(200),
  // Nobody listens there.
  [`post ${registries}`]: namespaceAdmins(400, { name: 'r', ...newRegistry, password: 'p' }),
  [`get ${registries}/{name}`]: namespaceAdmins(404),
  [`put ${registries}/{name}`]: namespaceAdmins(404, newRegistry),
  [`delete ${registries}/{name}`]: namespaceAdmins(404),
  [`post ${registries}/{name}/test`]: namespaceAdmins(404),
  'get /health/instance': everybody(200),
  'get /health/endtoend': everybody(200),
  'get /metrics': everybody(200),
  'get /api/v1/error/{error_type}': everybody(200),
  'get /api/v1/openapi.json': everybody(200),
  'get /api/v1/docs': everybody(200),
  'get /api/v1/docs/{file}': everybody(200),
};

/** What sessions get that is not what their user gets with a token: these are for browsers, or about the session itself. */
const forBrowsers: Readonly<Record<string, Readonly<Partial<Record<RoleName, number>>>>> = {
  'post /api/v1/signout': { owner: 204, other: 204, superuser: 204 },
  'post /api/v1/user/external-logins/{service}': { owner: 404, other: 404, superuser: 404 },
  'get /api/v1/user/csrf': { owner: 200, other: 200, superuser: 200 },
};

interface Operation {
  readonly 'x-access': string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
}

const organizationName = 'acme';
let server: ApiHarness;
let buildId: string;
let triggerId: string;
/** Of a session that began while there still was somebody whose it was. */
let disabledSecret: string;
const tokens = new Map<RoleName, string | undefined>();

beforeAll(async () => {
  server = await startApiServer({ providers: [] });
  tokens.set('owner', await server.addUser('owner'));
  const name = await server.addRepository('owner/web');
  tokens.set('anonymous', undefined);
  for (const role of ['other', 'reader', 'writer', 'admin', 'superuser', 'member'] as const)
    tokens.set(role, await server.addUser(role, { superuser: role === 'superuser' }));
  await server.accounts.setPermission(name, 'reader', 'read');
  await server.accounts.setPermission(name, 'writer', 'write');
  await server.accounts.setPermission(name, 'admin', 'admin');
  const robot = { namespace: 'owner', short: 'ci' };
  tokens.set('robot', (await server.accounts.robots.create(robot)).token);
  await server.accounts.setPermission(name, 'owner+ci', 'write');
  const { organizations, teams } = server.accounts;
  await organizations.create({ name: organizationName, owner: 'owner' });
  await teams.set(organizationName, 'devs', {});
  await teams.addMember(organizationName, 'devs', 'member');
  await server.addRepository('acme/app');
  for (const [role, teamRole] of [
    ['creator', 'creator'],
    ['teamAdmin', 'admin'],
  ] as const) {
    const username = role.toLowerCase();
    tokens.set(role, await server.addUser(username));
    await teams.set(organizationName, username, { role: teamRole });
    await teams.addMember(organizationName, username, username);
  }
  const scopes = ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin'] as const;
  tokens.set('powerless', await server.addUser('powerless', { superuser: true, scopes }));
  for (const [role, robotName] of [
    ['robotAdmin', { namespace: 'owner', short: 'strong' }],
    ['foreignRobot', { namespace: 'other', short: 'ci' }],
  ] as const)
    tokens.set(role, (await server.accounts.robots.create(robotName)).token);
  await server.accounts.setPermission(name, 'owner+strong', 'admin');
  tokens.set('disabled', await server.addUser('disabled', { superuser: true }));
  await server.accounts.setPermission(name, 'disabled', 'admin');
  disabledSecret = (await server.sessions.open({ username: 'disabled', way: 'password' })).secret;
  await server.accounts.users.change('disabled', { enabled: false });
  const short = await server.accounts.createToken('owner', { name: 'short', scopes });
  tokens.set('expired', short.token);
  // Its hour has come.
  await server.database.sql
    .updateTable('tokens')
    .set({ expires_at: 1 })
    .where('id', '=', short.view.id)
    .execute();
  const narrow = await server.accounts.createToken('admin', { name: 'narrow', scopes: ['repo:read'] });
  tokens.set('narrow', narrow.token);
  const token = tokens.get('admin') ?? '';
  const made = await server.call('POST', '/api/v1/repository/owner/web/build/', {
    token,
    body: { archive_url: 'https://sources.example/source.tar.gz' },
  });
  buildId = String(made.json.id);
  // A final build with a closed log, so that streams end.
  await server.call('DELETE', `/api/v1/repository/owner/web/build/${buildId}`, { token });
  const log = made.json.id as Parameters<typeof server.logs.close>[0];
  await server.logs.close(log);
  const trigger = await server.call('POST', '/api/v1/repository/owner/web/trigger/', {
    token,
    body: { service: 'custom-git' },
  });
  triggerId = String(trigger.json.id);
  await server.call('POST', `/api/v1/repository/owner/web/trigger/${triggerId}/activate`, {
    token,
    body: { config: { build_source: 'https://git.example.com/a/b.git' } },
  });
  // And one that is not.
  await server.call('POST', '/api/v1/repository/owner/web/build/', {
    token,
    body: { archive_url: 'https://sources.example/source.tar.gz' },
  });
});
afterAll(async () => await server[Symbol.asyncDispose]());

async function operations(): Promise<Map<string, Operation>> {
  const { json } = await server.call('GET', '/api/v1/openapi.json');
  const paths = json.paths as Record<string, Record<string, Operation>>;
  return new Map(
    Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => [`${method} ${path}`, operation] as const),
    ),
  );
}

test('every route of the API has its row, and every row a route', async () => {
  expect([...(await operations()).keys()].sort()).toEqual(Object.keys(table).sort());
});

const missing = '00000000-0000-4000-8000-000000000000';

/** By its cookie; a form brings the token in a field, whoever it is. */
async function browserHeaders(name: BrowserName): Promise<Record<string, string>> {
  const { username, csrf } = browsers[name];
  if (username === 'disabled')
    return { cookie: `slipway=${disabledSecret}`, 'x-csrf-token': csrfToken(disabledSecret) };
  const { secret, session } = await server.sessions.open({ username, way: 'password' });
  const another = await server.sessions.open({ username, way: 'password' });
  if (name === 'session that has ended') await server.sessions.end(username, session.id);
  return {
    cookie: `slipway=${secret}`,
    ...(csrf === 'none' ? {} : { 'x-csrf-token': csrfToken(csrf === 'own' ? secret : another.secret) }),
  };
}

/** What changes something is refused without the session's own CSRF token, unless no session is looked at. */
function lacksProof(name: BrowserName, route: string): boolean {
  const isLookedAt = !['signed-url', 'webhook'].includes(accessOf.get(route) ?? '');
  return browsers[name].csrf !== 'own' && isLookedAt && !route.startsWith('get ');
}

function expectedOf(name: BrowserName, route: string, row: Row): number {
  const { as } = browsers[name];
  if (lacksProof(name, route)) return 403;
  return (as === 'anonymous' ? undefined : forBrowsers[route]?.[as]) ?? row[as];
}

test('what is said of browsers alone is said of routes that there are', () => {
  expect(Object.keys(forBrowsers).filter((route) => table[route] === undefined)).toEqual([]);
});

let accessOf: ReadonlyMap<string, string>;
beforeAll(async () => {
  accessOf = new Map([...(await operations())].map(([route, operation]) => [route, operation['x-access']]));
});

describe.each(Object.entries(table))('%s', (route, expected) => {
  test.each(roles)('%s', async (role) => {
    const token = tokens.get(role);
    const username = role.toLowerCase();
    await meets(route, expected, expected[role], username, token === undefined ? {} : { token });
  });

  test.each(Object.keys(browsers) as BrowserName[])('%s', async (name) => {
    const status = expectedOf(name, route, expected);
    const headers = await browserHeaders(name);
    const errorType = await meets(route, expected, status, browsers[name].username, { headers });
    // Forms say it on a page.
    if (lacksProof(name, route) && route.includes(' /api/')) expect(errorType).toBe('csrf');
  });
});

async function meets(
  route: string,
  { body }: Row,
  status: number,
  username: string,
  credentials: { readonly token?: string; readonly headers?: Record<string, string> },
): Promise<unknown> {
  const [method = '', path = ''] = route.split(' ');
  const values: Record<string, string> = {
    namespace: path.startsWith(organization) ? organizationName : 'owner',
    repository: 'web',
    // What is deleted is not there, so that every role meets the same state.
    team: route === `delete ${team}` ? 'none' : 'devs',
    member: method === 'put' ? 'other' : 'nobody',
    robot: 'new',
    build: buildId,
    trigger: route.startsWith('delete') && !path.includes('secrets') ? missing : triggerId,
    delivery: missing,
    secret: method === 'delete' ? 'none' : 'npm',
    notice: missing,
    field: 'refs',
    host: 'github',
    username: 'other-person',
    name: 'none',
    token: 'no-such-token',
    attempt: '00000000-0000-4000-8000-000000000000',
    epoch: '1',
    file: path.startsWith('/api/v1/docs') ? 'docs.js' : '00000000-0000-4000-8000-000000000000',
    error_type: 'not_found',
    session: 'no-such-session',
    service: 'no-such-service',
    login: 'no-such-login',
    server: 'git.example',
  };
  if (route.startsWith('put') && path.includes('permissions/user')) values.username = 'other';
  const address = path.replace(/\{([a-z_]+)\}/g, (_match, name: string) => values[name] ?? '');
  const answer = await server.call(method.toUpperCase(), address, {
    ...credentials,
    ...(body === undefined ? {} : { body }),
  });
  expect({ status: answer.status, detail: answer.json.detail }).toMatchObject({ status });
  // What was given is taken away again, so that every role meets the same state.
  if (values.username === 'other')
    await server.accounts.setPermission({ namespace: 'owner', name: 'web' }, 'other', undefined);
  if (values.member === 'other' && path.includes('{member}'))
    await server.accounts.teams.removeMember(organizationName, 'devs', 'other');
  if (method === 'put' && path.endsWith('/robots/{robot}'))
    for (const namespace of [organizationName, username])
      await server.accounts.robots.delete({ namespace, short: 'new' });
  if (route === 'post /api/v1/superuser/users') await server.accounts.users.delete('newcomer');
  if (answer.status >= 400 && !answer.headers.get('content-type')?.startsWith('text/html')) {
    expect(Object.keys(answer.json).sort()).toEqual(
      ['detail', 'error_message', 'error_type', 'status', 'title', 'type'].sort(),
    );
    expect(answer.json.status).toBe(answer.status);
  }
  return answer.json.error_type;
}

/** What `/v2/auth` gives each role of pull, push and delete; undefined: it lets nobody in. */
test.each([
  ['anonymous', []],
  ['other', []],
  ['reader', ['pull']],
  ['writer', ['pull', 'push']],
  ['admin', ['pull', 'push', 'delete']],
  ['superuser', ['pull', 'push', 'delete']],
  ['narrow', ['pull']],
  ['owner', ['pull', 'push', 'delete']],
  ['robot', ['pull', 'push']],
  ['member', []],
  ['powerless', []],
  ['robotAdmin', ['pull', 'push', 'delete']],
  ['foreignRobot', []],
  ['creator', []],
  ['teamAdmin', []],
  ['disabled', undefined],
  ['expired', undefined],
] as const satisfies readonly (readonly [RoleName, readonly string[] | undefined])[])(
  'the registry gives %s no more than the role',
  async (role, expected) => {
    const secret = tokens.get(role);
    const subject =
      secret === undefined
        ? undefined
        : await server.authorizer.authenticate({ username: '$oauthtoken', password: secret });
    if (subject !== undefined && 'tryLater' in subject) throw new TypeError('nobody is locked out here');
    if (expected === undefined) {
      expect(subject).toBeUndefined();
      return;
    }
    expect(subject === undefined).toBe(role === 'anonymous');
    expect(await server.authorizer.authorize(subject, 'owner/web', ['pull', 'push', 'delete'])).toEqual(
      expected,
    );
  },
);

test('credentials that are wrong are refused everywhere, also where none are needed', async () => {
  for (const authorization of [
    'Bearer slp_wrong',
    `Bearer slp_${'A'.repeat(43)}`,
    `Basic ${Buffer.from(`owner:not ${password}`).toString('base64')}`,
    'Digest username="owner"',
    'Basic %%%',
  ]) {
    const answer = await server.call('GET', '/api/v1/repository', { headers: { authorization } });
    expect([authorization, answer.status]).toEqual([authorization, 401]);
    expect(answer.json.error_type).toBe('invalid_token');
  }
});

test('a private repository is not told from one that does not exist', async () => {
  for (const role of ['anonymous', 'other'] as const) {
    const token = tokens.get(role);
    const options = token === undefined ? {} : { token };
    const there = await server.call('GET', '/api/v1/repository/owner/web', options);
    const not = await server.call('GET', '/api/v1/repository/owner/not-there', options);
    expect(not.status).toBe(there.status);
    expect(not.text.replaceAll('not-there', 'web')).toBe(there.text);
  }
});

test('what is public may be read by everybody, and written by nobody more', async () => {
  await server.addRepository('owner/open', 'public');
  const body = { archive_url: 'https://sources.example/source.tar.gz' };
  const path = '/api/v1/repository/owner/open/build/';
  expect((await server.call('GET', path)).status).toBe(200);
  expect((await server.call('POST', path, { body })).status).toBe(401);
  const token = tokens.get('other') ?? '';
  expect((await server.call('POST', path, { body, token })).status).toBe(403);
});
