import Type, { type Static } from 'typebox';
import type { ExternalRegistry, RegistryKey } from '../registries/external-registry.ts';
import { RegistriesError } from '../registries/registries-error.ts';
import { probeCodes } from '../registries/registry-probe.ts';
import { createRegistry, replaceRegistry, type Saved } from '../registries/save-registry.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { textEnum } from './text-enum.ts';

const tags = ['namespaces'];
const use = Type.Array(textEnum(['push', 'pull']), { minItems: 1, maxItems: 2, uniqueItems: true });
const settings = {
  host: Type.String({ maxLength: 255, description: 'host or host:port, as in image names' }),
  prefix: Type.Optional(
    Type.String({
      maxLength: 255,
      description: 'What every path there begins with; the credentials are used for nothing else',
    }),
  ),
  username: Type.String({ minLength: 1, maxLength: 255 }),
  use,
  insecure: Type.Optional(
    Type.Boolean({ description: 'Plain HTTP; only for hosts that an administrator allowed by name' }),
  ),
  ca: Type.Optional(
    Type.Union([Type.String({ maxLength: 100_000 }), Type.Null()], {
      description: "PEM of certificate authorities besides the machine's",
    }),
  ),
};
const password = Type.String({
  minLength: 1,
  maxLength: 16_384,
  description: 'Or a token. Never shown again',
});
const name = Type.String({ maxLength: 63 });
const newRegistry = Type.Object(
  { name, ...settings, password },
  { additionalProperties: false, title: 'NewRegistry' },
);
const changedRegistry = Type.Object(
  { ...settings, password: Type.Optional(password) },
  { additionalProperties: false, title: 'ChangedRegistry' },
);
const registrySchema = Type.Object(
  {
    name: Type.String(),
    host: Type.String(),
    prefix: Type.String(),
    username: Type.String(),
    use,
    insecure: Type.Boolean(),
    ca: Type.Union([Type.String(), Type.Null()]),
    created: Type.String({ format: 'date-time' }),
    changed: Type.String({ format: 'date-time' }),
  },
  { title: 'Registry' },
);
const namespaceParams = Type.Object({ namespace: Type.String({ maxLength: 255 }) });
const registryParams = Type.Object({ ...namespaceParams.properties, name });

/** For tests of credentials, which end by themselves in time. */
const never = new AbortController().signal;

/** Registries of a namespace outside of Slipway. Their credentials are tried out before they are kept. */
export function addRegistryRoutes(
  api: Api,
  { registries, probe, options }: Pick<ApiDependencies, 'registries' | 'probe' | 'options'>,
): void {
  const base = '/api/v1/organization/:namespace/registries';
  const one = `${base}/:name`;
  const saving = { registries, probe };

  api.get(
    base,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'listRegistries',
        summary: 'Registries of a namespace outside of Slipway, by name',
        tags,
        params: namespaceParams,
        response: { 200: Type.Object({ registries: Type.Array(registrySchema) }) },
      },
    },
    async ({ params: { namespace } }) => ({ registries: (await registries.list(namespace)).map(view) }),
  );

  api.post(
    base,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'createRegistry',
        summary: 'Add a registry',
        description:
          'Logs in there, and for `push` begins and cancels an upload below the prefix; what does not work is said and nothing kept.',
        tags,
        params: namespaceParams,
        body: newRegistry,
        response: { 201: registrySchema },
      },
    },
    async ({ params: { namespace }, body }, reply) => {
      const given = { ...valuesOf({ namespace, name: body.name }, body), password: body.password };
      const saved = await createRegistry(notOurselves(given), saving, never);
      return await reply.status(201).send(view(registryOf(saved)));
    },
  );

  api.get(
    one,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'getRegistry',
        summary: 'One registry',
        tags,
        params: registryParams,
        response: { 200: registrySchema },
      },
    },
    async ({ params }) => {
      const found = await registries.find(params);
      if (found === undefined) throw unknown(params);
      return view(found);
    },
  );

  api.put(
    one,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'changeRegistry',
        summary: 'Change a registry',
        description:
          'Everything as it is to be. The password stays when it is left out, which is possible while host, user name, TLS and authorities stay. Tried out as a new one is.',
        tags,
        params: registryParams,
        body: changedRegistry,
        response: { 200: registrySchema },
      },
    },
    async ({ params, body }) => {
      const given = { ...valuesOf(params, body), password: body.password };
      return view(registryOf(await replaceRegistry(notOurselves(given), saving, never)));
    },
  );

  api.delete(
    one,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'deleteRegistry',
        summary: 'Forget a registry and its credentials',
        description: 'Refused while repositories publish to it.',
        tags,
        params: registryParams,
        response: { 204: Type.Null() },
      },
    },
    async ({ params }, reply) => {
      if (!(await registries.delete(params))) throw unknown(params);
      return await reply.status(204).send(null);
    },
  );

  api.post(
    `${one}/test`,
    {
      config: { access: 'namespace-admin' },
      schema: {
        operationId: 'testRegistry',
        summary: 'Try out the credentials of a registry',
        tags,
        params: registryParams,
        response: {
          200: Type.Object(
            {
              ok: Type.Boolean(),
              problem: Type.Union([textEnum(probeCodes), Type.Null()]),
              message: Type.Union([Type.String(), Type.Null()]),
            },
            { title: 'RegistryTest' },
          ),
        },
      },
    },
    async ({ params }) => {
      const credentials = await registries.open(params);
      if (credentials === undefined) throw unknown(params);
      const problem = await probe.check(credentials, never);
      return { ok: problem === undefined, problem: problem?.code ?? null, message: problem?.message ?? null };
    },
  );

  /** Workers have credentials of their own for our registry, and publishing there needs none. */
  function notOurselves<Given extends { readonly host: string }>(given: Given): Given {
    if (given.host !== options.registryHost) return given;
    throw new ApiError('invalid_request', `${given.host} is the registry of this server: it needs no entry.`);
  }
}

function valuesOf({ namespace, name }: RegistryKey, body: Static<typeof changedRegistry>) {
  const { host, prefix = '', username, insecure = false, ca } = body;
  return {
    namespace,
    name,
    host,
    prefix,
    username,
    insecure,
    push: body.use.includes('push'),
    pull: body.use.includes('pull'),
    ...(ca === undefined || ca === null ? {} : { ca }),
  };
}

function registryOf(saved: Saved): ExternalRegistry {
  if (saved.kind === 'saved') return saved.registry;
  throw new ApiError('invalid_request', saved.problem.message);
}

function unknown({ namespace, name }: RegistryKey): RegistriesError {
  return new RegistriesError('unknown', `The namespace ${namespace} has no registry "${name}".`);
}

function view(registry: ExternalRegistry): Static<typeof registrySchema> {
  const { name, host, prefix, username, insecure, ca, push, pull } = registry;
  return {
    name,
    host,
    prefix,
    username,
    use: [...(push ? (['push'] as const) : []), ...(pull ? (['pull'] as const) : [])],
    insecure,
    ca: ca ?? null,
    created: new Date(registry.createdAt).toISOString(),
    changed: new Date(registry.changedAt).toISOString(),
  };
}
