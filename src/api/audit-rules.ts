import type { AuditEvent, AuditTarget } from '../audit/audit-log.ts';
import { redactUrl } from '../model/redact-url.ts';

/** One request that is over, as a rule sees it. If it was refused, nothing in it was checked, and `detail` sees no body. */
export interface AuditedCall {
  readonly params: Readonly<Record<string, unknown>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** The answer's JSON. */
  readonly answer: Readonly<Record<string, unknown>>;
  /** The user who asked. */
  readonly username: string | undefined;
}

/** What the record of a route says. A rule names the fields that it takes, so that no secret slips in with the rest. */
export interface AuditRule {
  readonly action: string;
  /** Recorded only when whoever did it may do it because of being a superuser, and for no other reason. */
  readonly superusersOnly?: boolean;
  /** Which answers are recorded, by their status; all unless given. */
  readonly only?: (status: number) => boolean;
  readonly target?: (call: AuditedCall) => AuditTarget | undefined;
  readonly detail?: (call: AuditedCall) => Readonly<Record<string, unknown>>;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const texts = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

/** What was given of these fields. */
export function plainDetail(fields: Readonly<Record<string, unknown>>): NonNullable<AuditEvent['detail']> {
  const kept: Record<string, string | number | boolean | readonly string[]> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'number' || typeof value === 'boolean') kept[name] = value;
    else if (typeof value === 'string' && value !== '') kept[name] = value;
    else if (Array.isArray(value) && value.length > 0) kept[name] = texts(value);
  }
  return kept;
}

function repository({ params }: AuditedCall): AuditTarget {
  const namespace = text(params.namespace);
  return { kind: 'repository', name: `${namespace}/${text(params.repository)}`, namespace };
}

function trigger({ params, answer }: AuditedCall): AuditTarget | undefined {
  // One that was made has its id in the answer, all others have it in the path.
  const name = text(params.trigger) || text(answer.id);
  return name === '' ? undefined : { kind: 'trigger', name, namespace: text(params.namespace) };
}

function build(call: AuditedCall): AuditTarget {
  return { kind: 'build', name: text(call.params.build), namespace: text(call.params.namespace) };
}

/** The repository a build belongs to: records of builds can be found by it as well. */
const ofRepository = (call: AuditedCall) => ({ repository: repository(call).name });

function namespaceTarget(name: string): AuditTarget {
  return { kind: 'namespace', name, namespace: name };
}

function userTarget(name: string): AuditTarget {
  return { kind: 'user', name, namespace: name };
}

function team({ params }: AuditedCall): AuditTarget {
  const namespace = text(params.namespace);
  return { kind: 'team', name: `${namespace}/${text(params.team)}`, namespace };
}

/** In one's own namespace unless the path says which. */
function robot({ params, username }: AuditedCall): AuditTarget | undefined {
  const namespace = text(params.namespace) || (username ?? '');
  const name = `${namespace}+${text(params.robot)}`;
  return namespace === '' ? undefined : { kind: 'robot', name, namespace };
}

/** What was made with a token that was revoked. */
function stillValid(left: unknown): { robots?: unknown; tokens?: unknown } {
  if (typeof left !== 'object' || left === null) return {};
  const { robots, tokens } = left as { robots?: unknown; tokens?: unknown };
  return { robots, tokens: Array.isArray(tokens) ? tokens.map(({ id }) => id) : undefined };
}

/** As it was set: where the token of who asked ends sooner, that is not what was asked for. */
const robotExpiry = ({ body, answer }: AuditedCall) => ({ expires: answer.expires ?? body.expires });

function token(id: unknown, { username }: AuditedCall): AuditTarget {
  return {
    kind: 'token',
    name: text(id),
    ...(username === undefined ? {} : { namespace: username }),
  };
}

/** The user who asks. */
function self({ username }: AuditedCall): AuditTarget | undefined {
  return username === undefined ? undefined : { kind: 'user', name: username, namespace: username };
}

/** Once it is done, the request is the user's who signed in. */
const browserSignIn: AuditRule = {
  action: 'sign-in',
  target: self,
  detail: () => ({ door: 'browser', way: 'password' }),
};

const sourceOf = ({ body }: AuditedCall): string | undefined => {
  if (body.file_id !== undefined) return 'upload';
  if (body.archive_url !== undefined) return 'archive';
  return body.git === undefined ? undefined : 'git';
};

/** A trigger was made at the end of it. Where GitLab sends a browser back to, the path has no repository. */
const connected: AuditRule = {
  action: 'trigger.connect',
  target: ({ params, answer }) => {
    const namespace = text(params.namespace) || text(answer.namespace);
    return { kind: 'trigger', name: text(answer.id), ...(namespace === '' ? {} : { namespace }) };
  },
  detail: ({ params, answer }) => ({ repository: answer.repository, service: params.host ?? 'gitlab' }),
};

/** Asks for something with a body, and changes nothing. */
const onlyAsks: AuditRule = { action: 'trigger.look', only: () => false };

/**
 * By operation id: every route that changes something, and reading what only superusers may. A route that changes
 * something and is not here is recorded under its operation id, and fails a test.
 */
export const auditRules: Readonly<Record<string, AuditRule>> = {
  createRepo: {
    action: 'repository.create',
    target: ({ body, username }) => {
      const namespace = text(body.namespace) || (username ?? '');
      return { kind: 'repository', name: `${namespace}/${text(body.repository)}`, namespace };
    },
    detail: ({ body }) => ({ visibility: body.visibility }),
  },
  deleteRepository: {
    action: 'repository.delete',
    target: repository,
    detail: ({ answer }) => ({ left_at_host: answer.left_at_host }),
  },
  changeUserPermissions: {
    action: 'permission.set',
    target: repository,
    detail: ({ params, body }) => ({ user: params.username, role: body.role }),
  },
  deleteUserPermissions: {
    action: 'permission.remove',
    target: repository,
    detail: ({ params }) => ({ user: params.username }),
  },
  updateRepo: { action: 'repository.describe', target: repository },
  changeRepoVisibility: {
    action: 'repository.visibility',
    target: repository,
    detail: ({ body }) => ({ visibility: body.visibility }),
  },
  changeTeamPermissions: {
    action: 'permission.set',
    target: repository,
    detail: ({ params, body }) => ({ team: params.team, role: body.role }),
  },
  deleteTeamPermissions: {
    action: 'permission.remove',
    target: repository,
    detail: ({ params }) => ({ team: params.team }),
  },
  createOrganization: {
    action: 'namespace.create',
    target: ({ body }) => namespaceTarget(text(body.name)),
  },
  deleteAdminedOrganization: {
    action: 'namespace.delete',
    target: ({ params }) => namespaceTarget(text(params.namespace)),
  },
  removeOrganizationMember: {
    action: 'namespace.member.remove',
    target: ({ params }) => namespaceTarget(text(params.namespace)),
    detail: ({ params }) => ({ user: params.username }),
  },
  updateOrganizationTeam: {
    action: 'team.set',
    target: team,
    detail: ({ body, answer }) => ({ role: body.role, made: answer.new_team }),
  },
  deleteOrganizationTeam: { action: 'team.delete', target: team },
  updateOrganizationTeamMember: {
    action: 'team.member.add',
    target: team,
    detail: ({ params }) => ({ member: params.member }),
  },
  deleteOrganizationTeamMember: {
    action: 'team.member.remove',
    target: team,
    detail: ({ params }) => ({ member: params.member }),
  },
  createUserRobot: { action: 'robot.create', target: robot, detail: robotExpiry },
  deleteUserRobot: { action: 'robot.delete', target: robot },
  regenerateUserRobotToken: { action: 'robot.regenerate', target: robot, detail: robotExpiry },
  createOrgRobot: { action: 'robot.create', target: robot, detail: robotExpiry },
  deleteOrgRobot: { action: 'robot.delete', target: robot },
  regenerateOrgRobotToken: { action: 'robot.regenerate', target: robot, detail: robotExpiry },
  changeRepoLimits: {
    action: 'repository.limits',
    target: repository,
    detail: ({ body }) => ({ concurrency: body.concurrency }),
  },
  changeNamespaceLimits: {
    action: 'namespace.limits',
    target: ({ params }) => namespaceTarget(text(params.namespace)),
    detail: ({ body }) => ({
      weight: body.weight,
      max_running: body.max_running === null ? 'none' : body.max_running,
    }),
  },
  changeRepoTarget: {
    action: 'repository.target',
    target: repository,
    detail: ({ body, answer }) => ({ registry: body.registry, path: answer.path }),
  },
  deleteRepoTarget: { action: 'repository.target', target: repository, detail: () => ({ registry: 'none' }) },
  createRegistry: { action: 'registry.create', target: registry, detail: registryDetail },
  changeRegistry: {
    action: 'registry.change',
    target: registry,
    detail: (call) => ({
      ...registryDetail(call),
      password: call.body.password === undefined ? 'kept' : 'changed',
    }),
  },
  deleteRegistry: { action: 'registry.delete', target: registry },
  testRegistry: {
    action: 'registry.test',
    target: registry,
    detail: ({ answer }) => ({ ok: answer.ok, problem: answer.problem }),
  },
  requestRepoBuild: {
    action: 'build.request',
    // Only an answer that is a build has an id.
    target: (call) =>
      call.answer.id === undefined
        ? repository(call)
        : { kind: 'build', name: text(call.answer.id), namespace: text(call.params.namespace) },
    detail: (call) => ({
      ...ofRepository(call),
      source: sourceOf(call),
      tags: call.answer.tags,
      secrets: secretNames(call),
    }),
  },
  createBuildTrigger: {
    action: 'trigger.create',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), service: call.body.service }),
  },
  // Sealed and given to the browser; nothing is made before it comes back.
  connectBuildTrigger: onlyAsks,
  finishTriggerConnection: connected,
  finishGitlabConnection: connected,
  activateBuildTrigger: {
    action: 'trigger.activate',
    target: trigger,
    detail: (call) => ({
      ...ofRepository(call),
      source: redactUrl(text(call.answer.build_source)),
      pull_robot: call.body.pull_robot,
    }),
  },
  updateBuildTrigger: {
    action: 'trigger.update',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), enabled: call.body.enabled }),
  },
  changeBuildTriggerConfig: {
    action: 'trigger.configure',
    target: trigger,
    detail: (call) => ({
      ...ofRepository(call),
      changed: fieldNames(call.body.config),
      pull_robot: call.body.pull_robot === null ? 'none' : call.body.pull_robot,
    }),
  },
  deleteBuildTrigger: {
    action: 'trigger.delete',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), left_at_host: call.answer.left_at_host }),
  },
  manuallyStartBuildTrigger: {
    action: 'trigger.start',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), build: call.answer.id }),
  },
  redeliverToTrigger: {
    action: 'trigger.redeliver',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), delivery: call.params.delivery }),
  },
  setTriggerSecret: {
    action: 'trigger.secret.set',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), secret: call.params.secret }),
  },
  deleteTriggerSecret: {
    action: 'trigger.secret.remove',
    target: trigger,
    detail: (call) => ({ ...ofRepository(call), secret: call.params.secret }),
  },
  // What is delivered is in the trigger's list of deliveries; what proves nothing is kept nowhere else.
  buildTriggerWebhook: { action: 'trigger.delivery', target: trigger, only: (status) => status === 403 },
  listTriggerBuildSources: onlyAsks,
  listTriggerFieldValues: onlyAsks,
  listBuildTriggerSubdirs: onlyAsks,
  analyzeBuildTrigger: onlyAsks,
  dismissRepoNotice: {
    action: 'notice.dismiss',
    target: repository,
    detail: ({ params }) => ({ notice: params.notice }),
  },
  cancelRepoBuild: { action: 'build.cancel', target: build, detail: ofRepository },
  getRepoBuildLogs: { action: 'build.logs.read', target: build, detail: ofRepository, superusersOnly: true },
  streamRepoBuildLogs: {
    action: 'build.logs.read',
    target: build,
    detail: ofRepository,
    superusersOnly: true,
  },
  downloadRepoBuildLogs: {
    action: 'build.logs.read',
    target: build,
    detail: ofRepository,
    superusersOnly: true,
  },
  getRepoBuildLogsSuperUser: { action: 'build.logs.read', target: build, detail: ofRepository },
  getFiledropUrl: {
    action: 'file.create',
    target: ({ answer, username }) => file(answer.file_id, username),
    detail: ({ body }) => ({ type: body.mimeType }),
  },
  putUserFile: {
    action: 'file.upload',
    target: ({ params }) => file(params.file, undefined),
    detail: ({ answer }) => ({ size: answer.size, sha256: answer.checksum }),
  },
  signinUser: browserSignIn,
  submitSigninForm: browserSignIn,
  signoutUser: { action: 'sign-out', target: self },
  submitSignoutForm: { action: 'sign-out', target: self },
  deleteUserSession: {
    action: 'session.end',
    target: self,
    detail: ({ params }) => ({ session: params.session }),
  },
  deleteUserSessions: {
    action: 'session.end',
    target: self,
    detail: ({ answer }) => ({ ended: answer.ended }),
  },
  connectExternalLogin: {
    action: 'login.begin',
    target: self,
    detail: ({ params }) => ({ way: params.service }),
  },
  submitConnectForm: {
    action: 'login.begin',
    target: self,
    detail: ({ params }) => ({ way: params.service }),
  },
  disconnectExternalLogin: {
    action: 'login.disconnect',
    target: self,
    detail: ({ params }) => ({ login: params.login }),
  },
  createUserToken: {
    action: 'token.create',
    target: (call) => token(call.answer.id, call),
    detail: ({ body, answer }) => ({
      name: body.name,
      scopes: body.scopes,
      expires: answer.expires ?? body.expires,
    }),
  },
  revokeUserToken: {
    action: 'token.revoke',
    target: (call) => token(call.params.token, call),
    detail: ({ answer }) => stillValid(answer.still_valid),
  },
  createInstallUser: {
    action: 'user.create',
    target: ({ body }) => userTarget(text(body.username)),
  },
  changeInstallUser: {
    action: 'user.change',
    target: ({ params }) => userTarget(text(params.username)),
    detail: ({ body }) => ({
      enabled: body.enabled,
      email: body.email,
      // That there was one, not which.
      password: body.password === undefined ? undefined : 'set',
      revoke_tokens: body.revoke_tokens,
    }),
  },
  deleteInstallUser: {
    action: 'user.delete',
    target: ({ params }) => userTarget(text(params.username)),
  },
  changeUserDetails: {
    action: 'user.password',
    target: ({ username }) => (username === undefined ? undefined : userTarget(username)),
    detail: ({ body }) => ({ revoke_tokens: body.revoke_tokens }),
  },
  forgetGitHost: {
    action: 'git_host.forget',
    target: ({ params }) => ({ kind: 'server', name: text(params.server) }),
  },
  pruneBuilds: {
    action: 'builds.prune',
    detail: ({ body, answer }) => ({
      keep_younger_than: body.keep_younger_than,
      confirm: body.confirm,
      builds: answer.builds,
      uploads: answer.uploads,
    }),
  },
};

function registry({ params, body }: AuditedCall): AuditTarget {
  const namespace = text(params.namespace);
  return { kind: 'registry', name: `${namespace}/${text(params.name) || text(body.name)}`, namespace };
}

function registryDetail({ body: { host, prefix, username, use, insecure } }: AuditedCall) {
  return { host, prefix, username, use, insecure };
}
const fieldNames = (fields: unknown): readonly string[] =>
  typeof fields === 'object' && fields !== null ? Object.keys(fields).slice(0, 50) : [];

/** The ids of a build's secrets, never their values. */
function secretNames({ body: { secrets } }: AuditedCall): readonly string[] {
  return typeof secrets === 'object' && secrets !== null ? Object.keys(secrets) : [];
}

function file(id: unknown, namespace: string | undefined): AuditTarget | undefined {
  const name = text(id);
  return name === '' ? undefined : { kind: 'file', name, ...(namespace === undefined ? {} : { namespace }) };
}
