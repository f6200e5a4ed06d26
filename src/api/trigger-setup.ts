import Type from 'typebox';
import type { Principal } from '../account/accounts.ts';
import { messageOf } from '../base/coded-error.ts';
import type { Trigger } from '../trigger/trigger.ts';
import type { TriggerConfig } from '../trigger/trigger-config.ts';
import { TriggerError } from '../trigger/trigger-error.ts';
import { requireUser, type UserPrincipal } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { checkGitUrl } from './git-url.ts';
import { requirePullRobot } from './pull-robot.ts';
import { textEnum } from './text-enum.ts';
import { parseTriggerConfig, type TriggerConfigBody, triggerConfigSchema } from './trigger-config-body.ts';
import { signalOf, triggerOf, triggerParams, triggersPath } from './trigger-path.ts';
import { triggerViewSchema } from './trigger-view.ts';
import { TriggerViewer } from './trigger-viewer.ts';
import { pullRobotSchema } from './triggers.ts';

const tags = ['triggers'];
const nullable = <Schema extends Type.TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);

const namespaceSchema = Type.Object(
  {
    id: Type.String(),
    title: Type.String(),
    personal: Type.Boolean(),
    avatar_url: nullable(Type.String()),
    url: nullable(Type.String()),
  },
  { title: 'TriggerNamespace' },
);
const sourceSchema = Type.Object(
  {
    name: Type.String(),
    full_name: Type.String({ description: 'What build_source takes' }),
    description: Type.String(),
    url: Type.String(),
    private: Type.Boolean(),
    last_updated: Type.Integer({ description: 'Seconds since 1970 of the last push; 0 if not known' }),
    has_admin_permissions: Type.Boolean({ description: 'Whether webhook and key can be installed' }),
  },
  { title: 'TriggerSource' },
);
const analysisSchema = Type.Object(
  {
    status: textEnum(['publicbase', 'requiresrobot', 'analyzed', 'warning', 'error']),
    message: nullable(Type.String()),
    namespace: nullable(Type.String({ description: 'Of the base image, when it is in this registry' })),
    name: nullable(Type.String()),
    is_admin: Type.Boolean({ description: 'Whether you administer the repository of the base image' }),
    robots: Type.Array(
      Type.Object({
        name: Type.String(),
        kind: Type.Literal('user'),
        is_robot: Type.Literal(true),
        can_read: Type.Boolean(),
      }),
    ),
    faults: Type.Array(Type.String(), {
      description: 'Templates and expressions that are passed over, and why',
    }),
  },
  { title: 'TriggerAnalysis' },
);
const configBody = Type.Object(
  { config: triggerConfigSchema, pull_robot: Type.Optional(pullRobotSchema) },
  { title: 'TriggerActivation' },
);

/** Setting a trigger up: what there is at the host to choose from, whether it can be built, and activation. */
export function addTriggerSetupRoutes(
  api: Api,
  dependencies: Pick<ApiDependencies, 'accounts' | 'triggers' | 'egress' | 'options'>,
): void {
  const { accounts, triggers, egress, options } = dependencies;
  const viewer = new TriggerViewer(dependencies);
  const config = { access: 'repository-admin' } as const;
  const one = `${triggersPath}/:trigger`;

  const configOf = ({ service }: Trigger, body: TriggerConfigBody): Partial<TriggerConfig> => {
    const given = parseTriggerConfig(body);
    if (service === 'custom-git' && given.build_source !== undefined)
      checkGitUrl('build_source', given.build_source, egress);
    return given;
  };

  api.get(
    `${one}/namespaces`,
    {
      config,
      schema: {
        operationId: 'listTriggerBuildSourceNamespaces',
        summary: 'Accounts and organizations at the host whose repositories can be chosen',
        tags,
        params: triggerParams,
        response: { 200: Type.Object({ namespaces: Type.Array(namespaceSchema) }) },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      requireConnected(trigger, request.principal);
      const found = await triggers.namespaces(trigger.id, signalOf(reply));
      return {
        namespaces: found.map(({ id, title, personal, avatarUrl, url }) => ({
          id,
          title,
          personal,
          avatar_url: avatarUrl ?? null,
          url: url ?? null,
        })),
      };
    },
  );

  api.post(
    `${one}/sources`,
    {
      config,
      schema: {
        operationId: 'listTriggerBuildSources',
        summary: 'Repositories of a namespace at the host',
        tags,
        params: triggerParams,
        body: Type.Object({ namespace: Type.String({ maxLength: 255 }) }, { title: 'TriggerSourcesRequest' }),
        response: { 200: Type.Object({ sources: Type.Array(sourceSchema) }) },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      requireConnected(trigger, request.principal);
      const found = await triggers.sources(trigger.id, request.body.namespace, signalOf(reply));
      return {
        sources: found.map((source) => ({
          name: source.name.split('/').at(-1) ?? source.name,
          full_name: source.name,
          description: source.description,
          url: source.url,
          private: source.private,
          last_updated: Math.floor(source.lastUpdated / 1000),
          has_admin_permissions: source.admin,
        })),
      };
    },
  );

  api.post(
    `${one}/fields/:field`,
    {
      config,
      schema: {
        operationId: 'listTriggerFieldValues',
        summary: 'Values that a field may have: refs, branch_name, tag_name',
        tags,
        params: Type.Object({ ...triggerParams.properties, field: Type.String({ maxLength: 100 }) }),
        body: Type.Optional(triggerConfigSchema),
        response: {
          200: Type.Object({
            values: Type.Array(
              Type.Union([
                Type.String(),
                Type.Object({ kind: textEnum(['branch', 'tag']), name: Type.String() }),
              ]),
            ),
          }),
        },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      // Of its own source every administrator may know the refs: they may build them.
      if (!trigger.active) requireConnected(trigger, request.principal);
      const given = trigger.active ? {} : configOf(trigger, request.body ?? {});
      const { field } = request.params;
      const values = await triggers.fieldValues(trigger.id, field, given, signalOf(reply));
      if (values === undefined)
        throw new ApiError('not_found', `Nobody knows values for "${field.slice(0, 100)}" of this trigger.`);
      return { values: values.map((value) => (typeof value === 'string' ? value : { ...value })) };
    },
  );

  api.post(
    `${one}/subdir`,
    {
      config,
      schema: {
        operationId: 'listBuildTriggerSubdirs',
        summary: 'Dockerfiles in the source, with the folders that may be their context',
        tags,
        params: triggerParams,
        body: triggerConfigSchema,
        response: {
          200: Type.Union([
            Type.Object({
              status: Type.Literal('success'),
              dockerfile_paths: Type.Array(Type.String()),
              contextMap: Type.Record(Type.String(), Type.Array(Type.String())),
            }),
            Type.Object({ status: Type.Literal('error'), message: Type.String() }),
          ]),
        },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      requireConnected(trigger, request.principal);
      try {
        const given = configOf(trigger, request.body);
        const { paths, contexts } = await triggers.dockerfiles(trigger.id, given, signalOf(reply));
        return {
          status: 'success' as const,
          dockerfile_paths: [...paths],
          contextMap: Object.fromEntries(
            Object.entries(contexts).map(([path, folders]) => [path, [...folders]]),
          ),
        };
      } catch (thrown) {
        if (!(thrown instanceof TriggerError) || (thrown.code !== 'host' && thrown.code !== 'bad-config'))
          throw thrown;
        return { status: 'error' as const, message: messageOf(thrown) };
      }
    },
  );

  api.post(
    `${one}/analyze`,
    {
      config,
      schema: {
        operationId: 'analyzeBuildTrigger',
        summary: 'Whether what a configuration names can be built, and what its base image needs',
        tags,
        params: triggerParams,
        body: configBody,
        response: { 200: analysisSchema },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      const user = requireConnected(trigger, request.principal);
      const found = await triggers.analyze(
        trigger.id,
        configOf(trigger, request.body.config),
        user,
        signalOf(reply),
      );
      return {
        status: found.status,
        message: found.message ?? null,
        namespace: found.namespace ?? null,
        name: found.name ?? null,
        is_admin: found.isAdmin ?? false,
        robots: (found.robots ?? []).map(({ name, canRead }) => ({
          name,
          kind: 'user' as const,
          is_robot: true as const,
          can_read: canRead,
        })),
        faults: [...found.faults],
      };
    },
  );

  api.post(
    `${one}/activate`,
    {
      config,
      schema: {
        operationId: 'activateBuildTrigger',
        summary: 'Activate a trigger: a key is made, and webhook and key are installed at the host',
        description:
          'For custom-git, `config.credentials` of the answer has the public key and the URL of the webhook, for you to install.',
        tags,
        params: triggerParams,
        body: configBody,
        response: { 200: triggerViewSchema },
      },
    },
    async (request, reply) => {
      const { trigger, name, role } = await triggerOf(triggers, request);
      requireConnected(trigger, request.principal);
      const { config: body, pull_robot: robot } = request.body;
      const pullRobot =
        typeof robot === 'string'
          ? await requirePullRobot(robot, name, request.principal, accounts)
          : undefined;
      const activated = await triggers.activate(
        trigger.id,
        {
          config: configOf(trigger, body),
          ...(pullRobot === undefined ? {} : { pullRobot }),
          origin: options.publicOrigin(request.raw),
        },
        signalOf(reply),
      );
      return await viewer.view(request, activated.trigger, role, activated.faults);
    },
  );
}

/** A trigger asks its host as somebody's account, and shows what that account sees to nobody else. */
function requireConnected({ service, connectedUser }: Trigger, principal: Principal): UserPrincipal {
  const user = requireUser(principal);
  if (service === 'custom-git' || user.username === connectedUser) return user;
  throw new ApiError(
    'insufficient_scope',
    'The trigger is connected with the account of somebody else, who has to finish its set-up. Or make a trigger of your own.',
  );
}
