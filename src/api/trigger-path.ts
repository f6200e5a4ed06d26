import type { FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import type { Role } from '../account/accounts.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import { parseTriggerId, type Trigger } from '../trigger/trigger.ts';
import type { Triggers } from '../trigger/triggers.ts';
import { repositoryOf } from './access.ts';
import { ApiError } from './api-error.ts';
import { repositoryParams } from './repository-path.ts';

export const triggersPath = '/api/v1/repository/:namespace/:repository/trigger';

export const triggerParams = Type.Object({
  ...repositoryParams.properties,
  trigger: Type.String({ description: 'The id of a build trigger' }),
});

/** The trigger of a path: it must be one of the repository that access was granted for. */
export async function triggerOf(
  triggers: Pick<Triggers, 'find'>,
  request: FastifyRequest,
): Promise<{ readonly trigger: Trigger; readonly name: RepositoryName; readonly role: Role }> {
  const { name, role } = repositoryOf(request);
  const { trigger: text } = request.params as { trigger: string };
  const id = parseTriggerId(text);
  const trigger = id === undefined ? undefined : await triggers.find(name, id);
  if (trigger === undefined)
    throw new ApiError(
      'not_found',
      `There is no build trigger ${text.slice(0, 100)} in ${formatRepositoryName(name)}.`,
    );
  return { trigger, name, role };
}

/** Milliseconds for everything that a host is asked for one request. */
const patience = 60_000;

/** Fires when whoever asks is gone, or has waited long enough. */
export function signalOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  reply.raw.once('close', () => gone.abort());
  return AbortSignal.any([gone.signal, AbortSignal.timeout(patience)]);
}
