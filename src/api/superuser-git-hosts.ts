import Type from 'typebox';
import { fingerprintOf, formatKeyServer, parseKeyServer } from '../model/host-key.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';

const serverText = Type.String({
  minLength: 1,
  maxLength: 300,
  description: 'host, host:port or [address]:port; port 22 unless given',
});

const hostSchema = Type.Object(
  {
    server: serverText,
    key_type: Type.String({ description: 'Such as ssh-ed25519' }),
    key: Type.String({ description: 'Base64, as in known_hosts' }),
    fingerprint: Type.String({ description: 'SHA256:…' }),
    first_seen: Type.String({ format: 'date-time' }),
    build: Type.String({ description: 'The build that saw it first' }),
    namespace: Type.String({ description: 'Whose build that was' }),
  },
  { title: 'GitHost' },
);

/** The SSH servers of git repositories that builds have seen, and the keys they must show. */
export function addGitHostRoutes(api: Api, { hostKeys }: Pick<ApiDependencies, 'hostKeys'>): void {
  api.get(
    '/api/v1/superuser/git-hosts',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'listGitHosts',
        summary: 'Host keys of git servers, as builds saw them first',
        tags: ['superuser'],
        querystring: Type.Object({
          limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
          next_page: Type.Optional(serverText),
        }),
        response: {
          200: Type.Object(
            {
              git_hosts: Type.Array(hostSchema, { description: 'By host and port' }),
              next_page: Type.Union([Type.String(), Type.Null()]),
            },
            { title: 'GitHosts' },
          ),
        },
      },
    },
    async (request) => {
      const { limit, next_page } = request.query;
      const after = next_page === undefined ? undefined : requireServer(next_page);
      const found = await hostKeys.list(limit + 1, after);
      const page = found.slice(0, limit);
      const last = page.at(-1);
      return {
        git_hosts: page.map((seen) => ({
          server: formatKeyServer(seen),
          key_type: seen.type,
          key: seen.key,
          fingerprint: fingerprintOf(seen),
          first_seen: new Date(seen.firstSeen).toISOString(),
          build: seen.buildId,
          namespace: seen.namespace,
        })),
        next_page: found.length > limit && last !== undefined ? formatKeyServer(last) : null,
      };
    },
  );

  api.delete(
    '/api/v1/superuser/git-hosts/:server',
    {
      config: { access: 'superuser' },
      schema: {
        operationId: 'forgetGitHost',
        summary: 'Forget the host key of a git server',
        description:
          'The next build that fetches from it believes the key it shows then, and that one is kept. For a server whose key was changed by those who run it: compare the fingerprint with theirs.',
        tags: ['superuser'],
        params: Type.Object({ server: serverText }),
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const server = requireServer(request.params.server);
      if (!(await hostKeys.forget(server)))
        throw new ApiError('not_found', `No host key of ${formatKeyServer(server)} is kept.`);
      return await reply.status(204).send(null);
    },
  );
}

function requireServer(text: string): NonNullable<ReturnType<typeof parseKeyServer>> {
  const server = parseKeyServer(text);
  if (server !== undefined) return server;
  throw new ApiError(
    'invalid_request',
    'That names no server. Write it like git.example or git.example:2222.',
  );
}
