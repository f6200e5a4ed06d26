import type { FastifyRequest } from 'fastify';
import Type from 'typebox';
import { parseBasic } from '../registry/token-endpoint.ts';
import { formatTraceParent } from '../telemetry/trace-context.ts';
import { TriggerError } from '../trigger/trigger-error.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { WebhookBodies } from './webhook-bodies.ts';
import { WrongProofs } from './wrong-proofs.ts';

/** Bytes of one delivery; GitHub sends no larger ones. */
export const largestDelivery = 25 * 1024 * 1024;

/**
 * Where git hosts, and hooks that people wrote, tell of pushes. Whoever sends one proves it by the trigger's write token or
 * by the host's signature; the trigger checks that.
 */
export function addWebhookRoutes(
  api: Api,
  { triggers, clock, options }: Pick<ApiDependencies, 'triggers' | 'clock' | 'options'>,
): void {
  const bodies = new WebhookBodies({ clock, limit: largestDelivery });
  const wrong = new WrongProofs({ clock });

  // Whatever its type says, the body is bytes here: what is wrong with it is said after the proof.
  api.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    (scope as Api).post(
      '/webhooks/push/trigger/:trigger',
      {
        config: { access: 'webhook' },
        onRequest: async (request) => {
          // A type that cannot be read would be refused before the proof is asked for; the trigger gets it as it came.
          deliveredTypes.set(request.raw, request.headers['content-type']);
          request.raw.headers['content-type'] = 'application/octet-stream';
        },
        schema: {
          operationId: 'buildTriggerWebhook',
          summary: 'Tell a build trigger of a push',
          description:
            'With the write token of the trigger (Basic, user name $token, or Bearer), or with the signature of its host. 200 when a build will be made of it, and when it is skipped on purpose; the same delivery again makes no other build.',
          tags: ['triggers'],
          params: Type.Object({ trigger: Type.String({ maxLength: 100 }) }),
          produces: ['text/plain'],
        },
      },
      async (request, reply) => {
        const { trigger } = request.params;
        if (!options.buildSupport || options.readOnly === true) throw notNow(options.buildSupport);
        const wait = wrong.wait(trigger, request.ip);
        if (wait !== undefined)
          throw new ApiError(
            'rate_limited',
            'Too many deliveries with a wrong proof came for this trigger from your address. Wait before the next one.',
            { retryAfter: wait / 1000 },
          );
        try {
          await bodies.use(request.raw, async (body) => {
            const { span } = request;
            await triggers.deliver(
              trigger,
              { headers: headersOf(request), body },
              writeTokenOf(request.headers.authorization),
              span === undefined ? undefined : formatTraceParent(span),
            );
          });
        } catch (thrown) {
          if (thrown instanceof TriggerError && thrown.code === 'forbidden') wrong.add(trigger, request.ip);
          throw thrown;
        }
        return await reply.type('text/plain; charset=utf-8').send('Okay');
      },
    );
  });
}

/** The content type of each request as it came. */
const deliveredTypes = new WeakMap<FastifyRequest['raw'], string | undefined>();

function notNow(buildSupport: boolean): ApiError {
  return new ApiError(
    'unavailable',
    buildSupport
      ? 'The server is in read-only mode and takes no builds. Send it again later.'
      : 'Builds are switched off on this server (FEATURE_BUILD_SUPPORT: false).',
    { retryAfter: 60 },
  );
}

/** Without what proves who sends: whoever reads a delivery needs its signature, and no token. */
function headersOf({ raw }: FastifyRequest): Record<string, string | undefined> {
  const { authorization: _proof, cookie: _cookie, ...headers } = raw.headers;
  const flat = Object.entries(headers).map(
    ([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value] as const,
  );
  return { ...Object.fromEntries(flat), 'content-type': deliveredTypes.get(raw) };
}

/** `Basic $token:TOKEN`, as the URL of a webhook has it, or `Bearer TOKEN`. */
function writeTokenOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  const bearer = /^bearer +(\S+) *$/i.exec(authorization)?.[1];
  if (bearer !== undefined) return bearer;
  const basic = parseBasic(authorization);
  return basic?.username === '$token' ? basic.password : undefined;
}
