import type { FastifyReply, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import type { RepositoryName } from '../model/repository-name.ts';
import { type TriggerService, triggerServices } from '../trigger/trigger.ts';
import { repositoryOf, requireUser, type UserPrincipal } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { sendPage } from './page-answer.ts';
import { html } from './pages/html.ts';
import { page } from './pages/layout.ts';
import { repositoryParams } from './repository-path.ts';
import { textEnum } from './text-enum.ts';
import { signalOf, triggersPath } from './trigger-path.ts';

const tags = ['triggers'];
const host = textEnum(triggerServices.filter((service) => service !== 'custom-git'));

const querystring = Type.Object({
  state: Type.Optional(Type.String({ maxLength: 4096 })),
  code: Type.Optional(Type.String({ maxLength: 2048 })),
  error: Type.Optional(Type.String({ maxLength: 1024 })),
});

/** What a browser comes back with. */
interface Return {
  readonly service: TriggerService;
  readonly query: Static<typeof querystring>;
  readonly repository?: RepositoryName;
}

/** Connecting a trigger with somebody's account at a host, who goes there with a browser and says yes. */
export function addTriggerConnectionRoutes(
  api: Api,
  {
    accounts,
    triggers,
    hostConnection,
    options,
  }: Pick<ApiDependencies, 'accounts' | 'triggers' | 'hostConnection' | 'options'>,
): void {
  const config = { access: 'repository-admin' } as const;

  api.post(
    `${triggersPath}/connect`,
    {
      config,
      schema: {
        operationId: 'connectBuildTrigger',
        summary: 'Begin to make a trigger with your account at a host',
        description:
          'Lead the browser to `auth_url` within ten minutes. It comes back with a trigger that is not active yet. Needs a session.',
        tags,
        params: repositoryParams,
        body: Type.Object({ service: host }, { additionalProperties: false, title: 'TriggerConnection' }),
        response: { 200: Type.Object({ auth_url: Type.String() }) },
      },
    },
    async (request) => {
      const { name } = repositoryOf(request);
      await requireRepository(accounts, name);
      const { service } = request.body;
      const origin = options.publicOrigin(request.raw);
      return {
        auth_url: hostConnection.begin(service, {
          ...connecting(request.principal),
          repository: name,
          redirect:
            service === 'gitlab'
              ? `${origin}/oauth2/gitlab/callback/trigger`
              : `${origin}/oauth2/${service}/callback/trigger/${name.namespace}/${encodeURIComponent(name.name)}`,
        }),
      };
    },
  );

  const finish = async (
    request: FastifyRequest,
    reply: FastifyReply,
    { service, query, repository }: Return,
  ): Promise<FastifyReply> => {
    const who = connecting(request.principal);
    const back = { ...who, query, ...(repository === undefined ? {} : { repository }) };
    const found = await hostConnection.finish(service, back, signalOf(reply));
    const { namespace, name } = found.repository;
    // Where the path names no repository, nobody has asked yet whether it is theirs.
    if ((await accounts.roleOn(request.principal, found.repository)) !== 'admin')
      throw new ApiError(
        'insufficient_scope',
        `This needs admin permission on ${namespace}/${name}, which you do not have.`,
      );
    await requireRepository(accounts, found.repository);
    const { token } = found;
    const trigger = await triggers.create(found.repository, { service, user: who.username, token });
    request.auditAnswer = { id: trigger.id, namespace, repository: `${namespace}/${name}` };
    return await sendPage(
      reply,
      page(
        'Connected',
        html`<h1>Connected</h1>
<p>The build trigger <code>${trigger.id}</code> of ${namespace}/${name} acts with your account at ${service}. It builds nothing before it is activated.</p>`,
      ),
    );
  };

  api.get(
    '/oauth2/:host/callback/trigger/:namespace/:repository',
    {
      config,
      schema: {
        operationId: 'finishTriggerConnection',
        summary: 'Where a host sends the browser back to; a page',
        tags,
        params: Type.Object({ host, ...repositoryParams.properties }),
        querystring,
        produces: ['text/html'],
      },
      // It makes a trigger: nothing may ask for it in advance.
      exposeHeadRoute: false,
    },
    async (request, reply) =>
      await finish(request, reply, {
        service: request.params.host,
        query: request.query,
        repository: repositoryOf(request).name,
      }),
  );

  api.get(
    '/oauth2/gitlab/callback/trigger',
    {
      config: { access: 'user' },
      schema: {
        operationId: 'finishGitlabConnection',
        summary: 'Where GitLab, which compares the whole address, sends the browser back to; a page',
        tags,
        querystring,
        produces: ['text/html'],
      },
      exposeHeadRoute: false,
    },
    async (request, reply) => await finish(request, reply, { service: 'gitlab', query: request.query }),
  );
}

/** Whoever began it in a browser is who finishes it, in the same session. */
function connecting(principal: Parameters<typeof requireUser>[0]): {
  readonly username: string;
  readonly session: string;
} {
  const { username, sessionId }: UserPrincipal = requireUser(principal);
  if (sessionId === undefined)
    throw new ApiError(
      'invalid_request',
      'This is for browsers: sign in with one, or make the trigger with an access token of yours.',
    );
  return { username, session: sessionId };
}
