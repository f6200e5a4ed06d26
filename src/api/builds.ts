import Type from 'typebox';
import type { Role } from '../account/accounts.ts';
import { isAtLeast } from '../account/role.ts';
import { unreachable } from '../base/unreachable.ts';
import type { Build } from '../model/build.ts';
import { type BuildId, parseBuildId } from '../model/ids.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { buildQueueName } from '../telemetry/live-gauges.ts';
import { type AccountPrincipal, accountName, repositoryOf, requireAccount } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { AuditTrail } from './audit-trail.ts';
import {
  buildRequestSchema,
  idempotencyKeyOf,
  newestKeyOf,
  parseBuildRequest,
} from './build-request-body.ts';
import { BuildTriggers } from './build-triggers.ts';
import { buildViewSchema, viewBuild, viewBuilds, viewWithPosition } from './build-view.ts';
import type { ApiDependencies } from './dependencies.ts';
import { requirePullRobot } from './pull-robot.ts';
import { buildParams, repositoryParams } from './repository-path.ts';
import { enqueueInTrace } from './request-trace.ts';

type Needs = Pick<
  ApiDependencies,
  'accounts' | 'queue' | 'uploads' | 'egress' | 'metrics' | 'triggers' | 'options'
> & { readonly trail: AuditTrail };

const tags = ['builds'];
const listSchema = Type.Object({ builds: Type.Array(buildViewSchema) });
const limit = Type.Integer({ minimum: 1, maximum: 100, default: 5 });

/** Finds the build of a path: it must be one of the repository that access was granted for. */
export async function buildOf(
  queue: Needs['queue'],
  repository: RepositoryName,
  text: string,
): Promise<Build> {
  const id = parseBuildId(text);
  const build = id === undefined ? undefined : await queue.build(id);
  if (build === undefined || formatRepositoryName(build.repository) !== formatRepositoryName(repository))
    throw new ApiError(
      'not_found',
      `There is no build ${text.slice(0, 100)} in ${formatRepositoryName(repository)}.`,
    );
  return build;
}

/** Refuses, with the way out, when the repository is not there. */
export async function requireRepository(accounts: Needs['accounts'], name: RepositoryName): Promise<void> {
  if ((await accounts.repository(name)) !== undefined) return;
  const text = formatRepositoryName(name);
  throw new ApiError(
    'not_found',
    `There is no repository ${text}. Create it first: slipway repo create ${text}, or POST /api/v1/repository.`,
  );
}

/** The request is as it should be; the server is set up so that nothing comes of it. */
function buildsOff(): ApiError {
  return new ApiError(
    'conflict',
    'Builds are switched off on this server (FEATURE_BUILD_SUPPORT: false). Ask an administrator to switch them on, or build elsewhere and push the image.',
  );
}

function readOnly(): ApiError {
  return new ApiError(
    'read_only',
    'The server is read only for now (REGISTRY_STATE: readonly): no builds are taken. Ask an administrator when it is over.',
  );
}

/** Refuses where nothing would come of a build. */
export function requireBuilding(options: Pick<Needs['options'], 'buildSupport' | 'readOnly'>): void {
  if (!options.buildSupport) throw buildsOff();
  if (options.readOnly === true) throw readOnly();
}

export function addBuildRoutes(
  api: Api,
  { accounts, queue, uploads, egress, metrics, triggers, options, trail }: Needs,
): void {
  const base = '/api/v1/repository/:namespace/:repository/build';

  api.get(
    base,
    {
      config: { access: 'repository-read' },
      schema: {
        operationId: 'listRepoBuilds',
        summary: 'The builds of a repository, newest first',
        tags,
        params: repositoryParams,
        querystring: Type.Object({
          limit,
          since: Type.Optional(
            Type.Number({ minimum: 0, description: 'Only builds asked for since then; seconds since 1970' }),
          ),
        }),
        response: { 200: listSchema },
      },
    },
    async (request) => {
      const { name, role } = repositoryOf(request);
      await requireRepository(accounts, name);
      const { since } = request.query;
      const builds = await queue.builds({
        repository: name,
        limit: request.query.limit,
        ...(since === undefined ? {} : { since: since * 1000 }),
      });
      return { builds: await viewBuilds(builds, () => role, new BuildTriggers(triggers)) };
    },
  );

  api.post(
    base,
    {
      config: { access: 'repository-write' },
      bodyLimit: 4 * 1024 * 1024,
      schema: {
        operationId: 'requestRepoBuild',
        summary: 'Ask for a build',
        description:
          'The same Idempotency-Key makes the same build. 409 where builds are switched off, 429 when too many builds of the namespace wait already.',
        tags,
        params: repositoryParams,
        headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String({ maxLength: 255 })) }),
        body: buildRequestSchema,
        response: { 201: buildViewSchema },
      },
    },
    async (request, reply) => {
      const { name, role } = repositoryOf(request);
      await requireRepository(accounts, name);
      requireBuilding(options);
      const asker = requireAccount(request.principal);
      const username = accountName(asker);
      const idempotencyKey = idempotencyKeyOf(request.headers['idempotency-key'], username);
      const { request: asked, secrets } = await parseBuildRequest(request.body, {
        repository: name,
        username,
        superuser: asker.kind === 'user' && asker.superuser,
        egress,
        pullRobot: async (robot) => await requirePullRobot(robot, name, asker, accounts),
        useUpload: async (id) =>
          await uploads.use(id, username, name, async (first) =>
            isAtLeast(await accounts.roleOn(asker, first), 'write'),
          ),
      });
      const { maxQueuedPerNamespace } = options;
      let repeated = false;
      let superseded: readonly BuildId[] = [];
      const build = await enqueueInTrace(queue, request, asked, {
        secrets,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
        onRepeated: () => {
          repeated = true;
        },
        onSuperseded: (builds) => {
          superseded = builds;
        },
        ...(maxQueuedPerNamespace === undefined ? {} : { maxQueuedPerNamespace }),
        ...(request.body.newest_only === true ? { newestOnly: newestKeyOf(asked) } : {}),
      });
      for (const id of superseded) await trail.superseded(request, { id, by: build.id, repository: name });
      if (!repeated) metrics.queuePuts.inc({ queue_name: buildQueueName });
      return await reply
        .status(201)
        .header(
          'location',
          `/api/v1/repository/${name.namespace}/${encodeURIComponent(name.name)}/build/${build.id}`,
        )
        .send(await viewWithPosition(queue, build, role, new BuildTriggers(triggers)));
    },
  );

  const showRoute = (operationId: string, summary: string) =>
    ({
      config: { access: 'repository-read' },
      schema: { operationId, summary, tags, params: buildParams, response: { 200: buildViewSchema } },
    }) as const;
  const show = async (name: RepositoryName, role: Role, id: string) =>
    await viewWithPosition(queue, await buildOf(queue, name, id), role, new BuildTriggers(triggers));

  api.get(`${base}/:build`, showRoute('getRepoBuild', 'One build'), async (request) => {
    const { name, role } = repositoryOf(request);
    return await show(name, role, request.params.build);
  });
  api.get(
    `${base}/:build/status`,
    showRoute('getRepoBuildStatus', 'One build; the same as without /status'),
    async (request) => {
      const { name, role } = repositoryOf(request);
      return await show(name, role, request.params.build);
    },
  );

  api.delete(
    `${base}/:build`,
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'cancelRepoBuild',
        summary: 'Cancel a build',
        description: 'Possible in every phase up to publishing. A build that runs ends a few seconds later.',
        tags,
        params: buildParams,
        response: { 201: buildViewSchema },
      },
    },
    async (request, reply) => {
      const { name, role } = repositoryOf(request);
      const build = await buildOf(queue, name, request.params.build);
      // 201 is what clients of the field's reference system expect here.
      const verdict = await queue.cancel(build.id, accountName(requireAccount(request.principal)));
      switch (verdict.kind) {
        case 'cancelled':
        case 'cancelling':
          return await reply.status(201).send(
            viewBuild(verdict.build, {
              role,
              trigger: await new BuildTriggers(triggers).of(verdict.build),
            }),
          );
        case 'already-final':
          throw new ApiError(
            'invalid_request',
            `The build has ended already (${verdict.build.phase}); it cannot be cancelled.`,
          );
        case 'unknown':
          throw new ApiError('not_found', `There is no build ${build.id}.`);
        default:
          return unreachable(verdict);
      }
    },
  );

  api.get(
    '/api/v1/builds',
    {
      config: { access: 'account' },
      schema: {
        operationId: 'listBuilds',
        summary: 'The builds of all repositories you have a role in, newest first',
        tags,
        querystring: Type.Object({
          limit,
          id: Type.Optional(
            Type.String({
              pattern: '^[0-9a-f-]{4,36}$',
              description:
                'Only builds whose id begins so; a shortened id is looked for among the newest 1000',
            }),
          ),
        }),
        response: { 200: listSchema },
      },
    },
    async (request) => {
      const user = requireAccount(request.principal);
      const isSuperuser = user.kind === 'user' && user.superuser;
      const roles = new Map<string, Role | undefined>();
      const roleOf = async (name: RepositoryName): Promise<Role | undefined> => {
        const key = formatRepositoryName(name);
        if (!roles.has(key)) {
          // What is left of one that is gone belongs to nobody, whoever has the namespace by now.
          const isThere = isSuperuser || (await accounts.repository(name)) !== undefined;
          roles.set(key, isThere ? await accounts.roleOn(user, name) : undefined);
        }
        return roles.get(key);
      };
      const { id } = request.query;
      const whole = id === undefined ? undefined : parseBuildId(id);
      const candidates =
        whole === undefined
          ? await newestBuilds(user, id === undefined ? request.query.limit : 1000)
          : [await queue.build(whole)].filter((build) => build !== undefined);
      const builds = [];
      const found = new BuildTriggers(triggers);
      for (const build of candidates) {
        if (builds.length >= request.query.limit) break;
        if (id !== undefined && !build.id.startsWith(id)) continue;
        const role = await roleOf(build.repository);
        if (role !== undefined) builds.push(viewBuild(build, { role, trigger: await found.of(build) }));
      }
      return { builds };
    },
  );

  async function newestBuilds(user: AccountPrincipal, count: number): Promise<readonly Build[]> {
    if (user.kind === 'user' && user.superuser) return await queue.builds({ limit: count });
    const repositories = await accounts.repositories(user, { limit: 10_000 });
    const namespaces = [...new Set(repositories.map(({ name }) => name.namespace))];
    if (namespaces.length === 0) return [];
    // More than asked for, because some of a namespace's builds may be of repositories one may not read.
    return await queue.builds({ namespaces, limit: Math.max(count * 4, 200) });
  }
}
