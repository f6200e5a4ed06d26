import Type, { type Static } from 'typebox';
import type { Repository, Role } from '../account/accounts.ts';
import { roleOfScopes } from '../account/personal-token.ts';
import { isAtLeast } from '../account/role.ts';
import { formatRepositoryName, parseRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import type { Target } from '../registries/external-registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import type { Removed } from '../retention/repository-removal.ts';
import { repositoryOf, requireUser, type UserPrincipal } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { AuditTrail } from './audit-trail.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { repositoryParams } from './repository-path.ts';
import { targetSchema, viewTarget } from './repository-target.ts';
import { textEnum } from './text-enum.ts';

type Needs = Pick<
  ApiDependencies,
  'accounts' | 'queue' | 'registries' | 'removal' | 'triggers' | 'options'
> & { readonly trail: Pick<AuditTrail, 'triggerRemoved'> };

const tags = ['repositories'];
const visibility = textEnum(['public', 'private']);
/** For what ends by itself in time. */
const never = new AbortController().signal;

const repositorySchema = Type.Object(
  {
    namespace: Type.String(),
    name: Type.String(),
    description: Type.String(),
    is_public: Type.Boolean(),
    kind: Type.Literal('image'),
    state: Type.Literal('NORMAL'),
    /** ISO 8601. */
    created: Type.String({ format: 'date-time' }),
    image: Type.String({ description: 'What to give to docker pull' }),
    target: Type.Union([targetSchema, Type.Null()], {
      description: 'The registry it publishes to; null for the embedded one',
    }),
  },
  { title: 'Repository' },
);
const repositoryWithRights = Type.Intersect([
  repositorySchema,
  Type.Object({ can_write: Type.Boolean(), can_admin: Type.Boolean() }),
]);

export function addRepositoryRoutes(
  api: Api,
  { accounts, queue, registries, removal, triggers, options, trail }: Needs,
): void {
  const view = (repository: Repository, target: Target | undefined): Static<typeof repositorySchema> => ({
    namespace: repository.name.namespace,
    name: repository.name.name,
    description: repository.description,
    is_public: repository.visibility === 'public',
    kind: 'image',
    state: 'NORMAL',
    created: new Date(repository.createdAt).toISOString(),
    image:
      target === undefined
        ? `${options.registryHost}/${formatRepositoryName(repository.name)}`
        : viewTarget(target).image,
    target: target === undefined ? null : viewTarget(target),
  });
  const viewWithRights = (repository: Repository, role: Role, target?: Target) => ({
    ...view(repository, target),
    can_write: isAtLeast(role, 'write'),
    can_admin: isAtLeast(role, 'admin'),
  });

  /** A team with the role creator lets its members make repositories; a token must be one that could administer them. */
  const mayCreateIn = async (user: UserPrincipal, namespace: string): Promise<boolean> => {
    if (roleOfScopes(user.scopes) !== 'admin') return false;
    return (await accounts.organizations.roleIn(user.username, namespace)) === 'creator';
  };

  api.get(
    '/api/v1/repository',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'listRepos',
        summary: 'The repositories you may see, by name',
        tags,
        querystring: Type.Object({
          namespace: Type.Optional(Type.String({ maxLength: 255 })),
          limit: Type.Integer({ minimum: 1, maximum: 100, default: 100 }),
          next_page: Type.Optional(Type.String({ maxLength: 520, description: 'From the answer before' })),
        }),
        response: {
          200: Type.Object({
            repositories: Type.Array(repositorySchema),
            next_page: Type.Optional(Type.String({ description: 'Absent on the last page' })),
          }),
        },
      },
    },
    async (request) => {
      const { namespace, limit, next_page: after } = request.query;
      if (after !== undefined && parseRepositoryName(after) === undefined)
        throw new ApiError('invalid_request', '"next_page" is not one that an earlier answer gave.');
      const found = await accounts.repositories(request.principal, {
        limit: limit + 1,
        ...(namespace === undefined ? {} : { namespace }),
        ...(after === undefined ? {} : { after }),
      });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      const targets = await registries.targets(page.map(({ name }) => name));
      return {
        repositories: page.map((each) => view(each, targets.get(formatRepositoryName(each.name)))),
        ...(found.length > limit && last !== undefined ? { next_page: formatRepositoryName(last.name) } : {}),
      };
    },
  );

  api.post(
    '/api/v1/repository',
    {
      config: { access: 'user' },
      schema: {
        operationId: 'createRepo',
        summary: 'Create a repository',
        description:
          'For a superuser a namespace that is not there becomes an organization, which the superuser administers.',
        tags,
        body: Type.Object(
          {
            repository: Type.String({ maxLength: 255 }),
            namespace: Type.Optional(Type.String({ maxLength: 255, description: 'Default: your own' })),
            visibility: Type.Optional(visibility),
            description: Type.Optional(Type.String({ maxLength: 25_000 })),
            repo_kind: Type.Optional(Type.Union([Type.Literal('image'), Type.Null()])),
          },
          { title: 'NewRepo' },
        ),
        response: {
          201: Type.Intersect([
            repositoryWithRights,
            Type.Object({
              namespace_created: Type.Boolean({ description: 'Whether the namespace is a new organization' }),
            }),
          ]),
        },
      },
    },
    async (request, reply) => {
      const user = requireUser(request.principal);
      const { repository, namespace = user.username, description } = request.body;
      const name = parseRepositoryName(`${namespace}/${repository}`);
      if (name === undefined)
        throw new ApiError(
          'invalid_request',
          'That is not a repository name. Use lower-case letters and digits, parted by . _ - or /.',
        );
      // What exists says nothing to who may not create here, so that names are not given away.
      const own = await accounts.roleOn(user, { namespace: name.namespace, name: name.name });
      const creates = !isAtLeast(own, 'admin') && (await mayCreateIn(user, name.namespace));
      if (!isAtLeast(own, 'admin') && !creates)
        throw new ApiError(
          'insufficient_scope',
          `You may not create repositories in the namespace ${name.namespace}. Your own is ${user.username}.`,
        );
      // What a build or a push left while the repository before was being deleted is nobody's to see.
      if ((await accounts.repository(name)) === undefined) {
        const freed = await accounts.isFreed(name);
        await removed(name, 'was in use before', removal.clear(name, { freed }, never));
      }
      // Only superusers get so far in a namespace that is not there.
      const isNew = (await accounts.organizations.kindOf(name.namespace)) === undefined;
      if (isNew) await accounts.organizations.create({ name: name.namespace, owner: user.username });
      const created = await accounts.createRepository(name, {
        visibility: request.body.visibility ?? 'private',
        // Whoever makes it can go on with it.
        ...(creates ? { admin: user.username } : {}),
        ...(description === undefined ? {} : { description }),
      });
      return await reply
        .status(201)
        .header('location', `/api/v1/repository/${name.namespace}/${encodeURIComponent(name.name)}`)
        .send({ ...viewWithRights(created, 'admin'), namespace_created: isNew });
    },
  );

  api.get(
    '/api/v1/repository/:namespace/:repository',
    {
      config: { access: 'repository-read' },
      schema: {
        operationId: 'getRepo',
        summary: 'One repository',
        tags,
        params: repositoryParams,
        response: { 200: repositoryWithRights },
      },
    },
    async (request) => {
      const { name, role } = repositoryOf(request);
      const repository = await accounts.repository(name);
      if (repository !== undefined) return viewWithRights(repository, role, await registries.target(name));
      await requireRepository(accounts, name);
      throw new ApiError('conflict', 'The repository was created at this moment. Ask again.');
    },
  );

  api.put(
    '/api/v1/repository/:namespace/:repository',
    {
      config: { access: 'repository-write' },
      schema: {
        operationId: 'updateRepo',
        summary: 'Change the description of a repository',
        tags,
        params: repositoryParams,
        body: Type.Object(
          { description: Type.String({ maxLength: 25_000 }) },
          { additionalProperties: false, title: 'RepoUpdate' },
        ),
        response: { 200: Type.Object({ success: Type.Literal(true) }) },
      },
    },
    async (request) => await change(repositoryOf(request).name, request.body),
  );

  api.post(
    '/api/v1/repository/:namespace/:repository/changevisibility',
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'changeRepoVisibility',
        summary: 'Make a repository public or private',
        tags,
        params: repositoryParams,
        body: Type.Object({ visibility }, { additionalProperties: false, title: 'RepoVisibility' }),
        response: { 200: Type.Object({ success: Type.Literal(true) }) },
      },
    },
    async (request) => await change(repositoryOf(request).name, request.body),
  );

  async function change(
    name: RepositoryName,
    fields: Parameters<Needs['accounts']['changeRepository']>[1],
  ): Promise<{ success: true }> {
    if ((await accounts.changeRepository(name, fields)) === undefined) {
      await requireRepository(accounts, name);
      throw new ApiError('conflict', 'The repository was created at this moment. Ask again.');
    }
    return { success: true };
  }

  /** Throws ApiError unless all of it is removed; `besides` is what else whoever asked has to know then. */
  async function removed(
    name: RepositoryName,
    why: string,
    removing: Promise<Removed>,
    besides: readonly string[] = [],
  ): Promise<void> {
    const text = formatRepositoryName(name);
    let left: Removed;
    try {
      left = await removing;
    } catch (thrown) {
      if (!(thrown instanceof RegistryError)) throw thrown;
      throw new ApiError(
        'unavailable',
        and(
          `${text} ${why}, and its images could not be removed, for the registry does not answer as it should. Try again.`,
          besides,
        ),
        { cause: thrown, retryAfter: 5 },
      );
    }
    if (left === 'more')
      throw new ApiError(
        'unavailable',
        and(
          `${text} has more builds or images than one request removes. Ask again, and it goes on.`,
          besides,
        ),
        { retryAfter: 1 },
      );
    if (left === 'held') throw held(name, besides);
  }

  api.delete(
    '/api/v1/repository/:namespace/:repository',
    {
      config: { access: 'repository-admin' },
      schema: {
        operationId: 'deleteRepository',
        summary: 'Delete a repository',
        description:
          'With its builds, their logs and its images in the embedded registry. Refused while builds of it wait or run. 503 when there is more to remove than one request does: ask again. Its build triggers go last, and at hosts their webhooks and keys: 204; 200 with what is to be removed by hand, where a host did not remove it, which an error that comes after that says as well.',
        tags,
        params: repositoryParams,
        response: {
          200: Type.Object({ left_at_host: Type.Array(Type.String()) }, { title: 'LeftAtHost' }),
          204: Type.Null(),
        },
      },
    },
    async (request, reply) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const unfinished = await queue.builds({ repository: name, limit: 1, unfinishedOnly: true });
      if (unfinished.length > 0)
        throw new ApiError('conflict', 'Builds of the repository wait or run. Cancel them first.');
      // Nothing is touched of what has to stay.
      if (await removal.isHeld(name)) throw held(name);
      await removed(name, 'is to go', removal.remove(name, never));
      // Triggers go when nothing else stands in the way. What hosts keep is said whatever comes after that.
      const left: string[] = [];
      for (const { id } of await triggers.list(name)) {
        const { leftAtHost } = await triggers.remove(id);
        await trail.triggerRemoved(request, { id, repository: name, leftAtHost });
        left.push(...leftAtHost);
      }
      // The name comes last: whoever takes it gets nothing of what there was, nor of what a trigger has built meanwhile.
      await removed(name, 'is to go', removal.remove(name, never), left);
      if (!(await accounts.deleteRepository(name)) && (await accounts.repository(name)) !== undefined)
        throw new ApiError('conflict', and('A build was asked for at this moment. Cancel it first.', left));
      if (left.length > 0) return await reply.status(200).send({ left_at_host: left });
      return await reply.status(204).send(null);
    },
  );
}

function held(name: RepositoryName, besides: readonly string[] = []): ApiError {
  return new ApiError(
    'conflict',
    and(
      `A build of ${formatRepositoryName(name)} runs, or has ended a moment ago: its worker or its log is not done yet. Try again in a minute.`,
      besides,
    ),
  );
}

function and(message: string, besides: readonly string[]): string {
  return [message, ...besides].join(' ');
}
