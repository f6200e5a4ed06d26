import Type from 'typebox';
import { type TriggerService, triggerServices } from '../trigger/trigger.ts';
import { repositoryOf, requireUser } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import { requireRepository } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { requirePullRobot } from './pull-robot.ts';
import { repositoryParams } from './repository-path.ts';
import { textEnum } from './text-enum.ts';
import { parseTriggerConfig, triggerChangeSchema } from './trigger-config-body.ts';
import { triggerOf, triggerParams, triggersPath } from './trigger-path.ts';
import { triggerViewSchema } from './trigger-view.ts';
import { TriggerViewer } from './trigger-viewer.ts';

const tags = ['triggers'];
export const pullRobotSchema = Type.Union([Type.String({ maxLength: 512 }), Type.Null()], {
  description: 'A robot of the repository’s namespace, which builds pull base images as',
});

/** The build triggers of a repository, for its administrators. */
export function addTriggerRoutes(
  api: Api,
  dependencies: Pick<ApiDependencies, 'accounts' | 'triggers' | 'options'>,
): void {
  const { accounts, triggers } = dependencies;
  const viewer = new TriggerViewer(dependencies);
  const config = { access: 'repository-admin' } as const;

  api.get(
    triggersPath,
    {
      config,
      schema: {
        operationId: 'listBuildTriggers',
        summary: 'The build triggers of a repository',
        tags,
        params: repositoryParams,
        response: { 200: Type.Object({ triggers: Type.Array(triggerViewSchema, { maxItems: 100 }) }) },
      },
    },
    async (request) => {
      const { name, role } = repositoryOf(request);
      await requireRepository(accounts, name);
      const views = [];
      for (const trigger of await triggers.list(name)) views.push(await viewer.view(request, trigger, role));
      return { triggers: views };
    },
  );

  api.post(
    triggersPath,
    {
      config,
      schema: {
        operationId: 'createBuildTrigger',
        summary: 'Make a build trigger; it builds nothing before it is activated',
        description:
          'Of custom-git, or of a host with an access token that you made there. What the trigger does at the host it does as the account of that token, which is never shown again.',
        tags,
        params: repositoryParams,
        body: Type.Object(
          {
            service: textEnum(triggerServices),
            token: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 4096,
                pattern: '^[\\x21-\\x7e]+$',
                description: 'An access token of your account at the host; not for custom-git',
              }),
            ),
          },
          { additionalProperties: false, title: 'NewTrigger' },
        ),
        response: { 201: triggerViewSchema },
      },
    },
    async (request, reply) => {
      const { name, role } = repositoryOf(request);
      const { username } = requireUser(request.principal);
      await requireRepository(accounts, name);
      const { service, token } = request.body;
      requireToken(service, token);
      const trigger = await triggers.create(name, {
        service,
        user: username,
        ...(token === undefined ? {} : { token }),
      });
      return await reply
        .status(201)
        .header(
          'location',
          `/api/v1/repository/${name.namespace}/${encodeURIComponent(name.name)}/trigger/${trigger.id}`,
        )
        .send(await viewer.view(request, trigger, role));
    },
  );

  api.get(
    `${triggersPath}/:trigger`,
    {
      config,
      schema: {
        operationId: 'getBuildTrigger',
        summary: 'One build trigger',
        tags,
        params: triggerParams,
        response: { 200: triggerViewSchema },
      },
    },
    async (request) => {
      const { trigger, role } = await triggerOf(triggers, request);
      return await viewer.view(request, trigger, role);
    },
  );

  api.put(
    `${triggersPath}/:trigger`,
    {
      config,
      schema: {
        operationId: 'updateBuildTrigger',
        summary: 'Switch a build trigger on or off',
        description:
          'Switching it on also brings one back that was switched off after failures in a row, or because its user was deleted.',
        tags,
        params: triggerParams,
        body: Type.Object({ enabled: Type.Boolean() }, { title: 'TriggerUpdate' }),
        response: { 200: triggerViewSchema },
      },
    },
    async (request) => {
      const { trigger, role } = await triggerOf(triggers, request);
      const { principal } = request;
      const user = principal.kind === 'user' ? principal.username : undefined;
      const after = await triggers.setEnabled(trigger.id, request.body.enabled, user);
      return await viewer.view(request, after, role);
    },
  );

  api.put(
    `${triggersPath}/:trigger/config`,
    {
      config,
      schema: {
        operationId: 'changeBuildTriggerConfig',
        summary: 'Change what an active trigger builds',
        description: 'What is left out stays, null takes a value away. The source cannot be changed.',
        tags,
        params: triggerParams,
        body: Type.Object(
          { config: triggerChangeSchema, pull_robot: Type.Optional(pullRobotSchema) },
          { additionalProperties: false, title: 'TriggerChange' },
        ),
        response: { 200: triggerViewSchema },
      },
    },
    async (request) => {
      const { trigger, name, role } = await triggerOf(triggers, request);
      const { config: change, pull_robot: robot } = request.body;
      if (typeof robot === 'string') await requirePullRobot(robot, name, request.principal, accounts);
      const after = await triggers.configure(trigger.id, parseTriggerConfig(change), robot);
      return await viewer.view(request, after, role);
    },
  );

  api.delete(
    `${triggersPath}/:trigger`,
    {
      config,
      schema: {
        operationId: 'deleteBuildTrigger',
        summary: 'Delete a build trigger, and at the host its webhook and key',
        description:
          '204; 200 with what is to be removed by hand, where the host did not remove it. The trigger goes either way.',
        tags,
        params: triggerParams,
        response: {
          200: Type.Object({ left_at_host: Type.Array(Type.String()) }, { title: 'LeftAtHost' }),
          204: Type.Null(),
        },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      const { leftAtHost } = await triggers.remove(trigger.id);
      if (leftAtHost.length > 0) return await reply.status(200).send({ left_at_host: [...leftAtHost] });
      return await reply.status(204).send(null);
    },
  );
}

/** A trigger acts as an account at its host; custom git repositories are opened by the key of the trigger alone. */
function requireToken(service: TriggerService, token: string | undefined): void {
  if (service === 'custom-git' && token !== undefined)
    throw new ApiError(
      'invalid_request',
      'A trigger of custom-git takes no "token"; it gets a key of its own.',
    );
  if (service !== 'custom-git' && token === undefined)
    throw new ApiError(
      'invalid_request',
      `A trigger of ${service} needs a "token": make an access token there that may read repositories and install webhooks and deploy keys.`,
    );
}
