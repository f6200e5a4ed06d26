import Type from 'typebox';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { triggerOf, triggerParams, triggersPath } from './trigger-path.ts';

const tags = ['triggers'];
const params = Type.Object({
  ...triggerParams.properties,
  secret: Type.String({ maxLength: 128, description: 'As in RUN --mount=type=secret,id=…' }),
});
const base64 = '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$';

/** Secrets that the builds of a trigger get. They are written and never read again. */
export function addTriggerSecretRoutes(api: Api, { triggers }: Pick<ApiDependencies, 'triggers'>): void {
  const config = { access: 'repository-admin' } as const;
  const base = `${triggersPath}/:trigger/secrets`;

  api.get(
    base,
    {
      config,
      schema: {
        operationId: 'listTriggerSecrets',
        summary: 'The ids of the secrets that builds of a trigger get',
        tags,
        params: triggerParams,
        response: { 200: Type.Object({ secrets: Type.Array(Type.String()) }) },
      },
    },
    async (request) => {
      const { trigger } = await triggerOf(triggers, request);
      return { secrets: [...(await triggers.secretIds(trigger.id))] };
    },
  );

  api.put(
    `${base}/:secret`,
    {
      config,
      bodyLimit: 1024 * 1024,
      schema: {
        operationId: 'setTriggerSecret',
        summary: 'Give builds of a trigger a secret, or another value of it',
        description: 'Builds of pull requests from forks get none.',
        tags,
        params,
        body: Type.Object(
          { value: Type.String({ pattern: base64, description: 'In base64; at most 512 KiB' }) },
          { additionalProperties: false, title: 'TriggerSecret' },
        ),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      await triggers.setSecret(trigger.id, request.params.secret, Buffer.from(request.body.value, 'base64'));
      return await reply.status(204).send(null);
    },
  );

  api.delete(
    `${base}/:secret`,
    {
      config,
      schema: {
        operationId: 'deleteTriggerSecret',
        summary: 'Take a secret away from the builds of a trigger',
        tags,
        params,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { trigger } = await triggerOf(triggers, request);
      if (!(await triggers.setSecret(trigger.id, request.params.secret, undefined)))
        throw new ApiError('not_found', 'The trigger has no such secret.');
      return await reply.status(204).send(null);
    },
  );
}
