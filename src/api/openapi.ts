import type { RouteOptions } from 'fastify';
import type { Access, Api } from './api.ts';
import { apiErrorTable } from './api-error.ts';

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type JsonObject = { readonly [key: string]: Json };

interface Described {
  readonly method: string;
  readonly url: string;
  readonly access: Access;
  readonly schema: Readonly<Record<string, unknown>>;
}

const accessWords: Record<Access, string> = {
  public: 'Open to everybody.',
  'signed-url': 'Open to who holds the signed URL.',
  webhook: 'Open to who has the write token of the trigger, or signs as its host.',
  user: 'Needs a user who is signed in.',
  account: 'Needs a user or a robot.',
  'namespace-member':
    'Needs somebody in a team of the namespace, with a password or a token of the scope `org:admin`.',
  'namespace-admin':
    'Needs an administrator of the namespace, with a password or a token of the scope `org:admin`.',
  'user-admin': 'Needs a password, or a token with the scope `user:admin`.',
  superuser: 'Needs a superuser.',
  'repository-read': 'Needs read permission on the repository, unless it is public.',
  'repository-write': 'Needs write permission on the repository.',
  'repository-admin': 'Needs admin permission on the repository.',
  'build-log': 'Needs write permission on the repository, or read permission where readers may see logs.',
};

/**
 * The OpenAPI document of every route, made from the schemas that check the requests. It is made when it is first
 * asked for.
 */
export class OpenApi {
  readonly #version: string;
  readonly #routes: Described[] = [];
  #text: string | undefined;

  constructor(version: string) {
    this.#version = version;
  }

  /** Takes note of every route that is added from now on. */
  watch(api: Api): void {
    api.addHook('onRoute', (route) => this.#note(route));
  }

  #note({ method, url, schema, config }: RouteOptions): void {
    for (const each of [method].flat()) {
      if (each === 'HEAD') continue;
      if (schema === undefined || config?.access === undefined)
        throw new TypeError(
          `route ${each} ${url} has no schema, or does not say who may call it: it would be missing in the document`,
        );
      // The schemas' own types are of no use here: they become JSON.
      this.#routes.push({ method: each, url, access: config.access, schema: { ...schema } });
    }
  }

  /** JSON text. */
  text(): string {
    this.#text ??= JSON.stringify(this.document());
    return this.#text;
  }

  document(): JsonObject {
    const schemas = new Map<string, Json>();
    const paths = new Map<string, Record<string, Json>>();
    for (const route of this.#routes) {
      const path = route.url.replace(/:([a-z_]+)/g, '{$1}');
      const operations = paths.get(path) ?? {};
      operations[route.method.toLowerCase()] = describe(route, schemas);
      paths.set(path, operations);
    }
    schemas.set('Error', errorSchema);
    return {
      openapi: '3.1.0',
      info: {
        title: 'Slipway',
        version: this.#version,
        description: 'Builds container images on your own machines.',
      },
      paths: Object.fromEntries([...paths].sort(([a], [b]) => (a < b ? -1 : 1))),
      components: {
        schemas: Object.fromEntries(schemas),
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'A personal token (slp_…), or a robot’s (slr_…)',
          },
          password: {
            type: 'http',
            scheme: 'basic',
            description: 'User name and password, or the name and the token of a robot',
          },
          session: {
            type: 'apiKey',
            in: 'cookie',
            name: 'slipway',
            description:
              'Of a browser, by `POST /api/v1/signin`. What changes something needs the header X-CSRF-Token too. By https the name is `__Host-slipway`.',
          },
        },
      },
    };
  }
}

function describe({ url, method, access, schema }: Described, schemas: Map<string, Json>): Json {
  const text = (name: string): string => String(schema[name] ?? '');
  const part = (name: string): Json | undefined =>
    schema[name] === undefined ? undefined : collect(toJson(schema[name]), schemas);
  const parameters = [
    ...parametersOf(part('params'), 'path'),
    ...parametersOf(part('querystring'), 'query'),
    ...parametersOf(part('headers'), 'header'),
  ];
  const body = part('body');
  const file = method === 'PUT' && body === undefined && url.startsWith('/userfiles/');
  const content =
    body === undefined ? undefined : { [text('consumes') || 'application/json']: { schema: body } };
  const requestBody = file ? { 'application/octet-stream': {} } : content;
  return {
    operationId: text('operationId'),
    summary: text('summary'),
    description: [text('description'), accessWords[access]].filter((line) => line !== '').join('\n\n'),
    tags: toJson(schema.tags ?? []),
    'x-access': access,
    parameters,
    ...(requestBody === undefined ? {} : { requestBody: { required: true, content: requestBody } }),
    responses: {
      ...responsesOf(schema, schemas),
      default: { description: 'An error', content: errorContent },
    },
    ...(access === 'public' || access === 'signed-url' || access === 'webhook'
      ? {}
      : { security: securityOf(access) }),
  };
}

function securityOf(access: Access): Json {
  const signedIn: Json = [{ token: [] }, { password: [] }, { session: [] }];
  return access === 'repository-read' || access === 'build-log' ? [...signedIn, {}] : signedIn;
}

function responsesOf(schema: Described['schema'], schemas: Map<string, Json>): JsonObject {
  const responses = schema.response;
  if (typeof responses !== 'object' || responses === null) {
    const types = Array.isArray(schema.produces) ? schema.produces.map(String) : ['application/octet-stream'];
    return {
      '200': { description: 'Success', content: Object.fromEntries(types.map((type) => [type, {}])) },
    };
  }
  return Object.fromEntries(
    Object.entries(responses).map(([status, answer]): [string, Json] => [
      status,
      status === '204'
        ? { description: 'Done' }
        : {
            description: Number(status) < 400 ? 'Success' : 'Not well',
            content: { 'application/json': { schema: collect(toJson(answer), schemas) } },
          },
    ]),
  );
}

function parametersOf(schema: Json | undefined, place: 'path' | 'query' | 'header'): Json[] {
  if (!isObject(schema) || !isObject(schema.properties)) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties).map(([name, property]) => {
    const { description, ...type } = isObject(property) ? property : {};
    return {
      name,
      in: place,
      required: place === 'path' || (required.includes(name) && !('default' in type)),
      ...(description === undefined ? {} : { description }),
      schema: type,
    };
  });
}

/** Moves every schema with a title to the components and refers to it. */
function collect(schema: Json, schemas: Map<string, Json>): Json {
  if (Array.isArray(schema)) return schema.map((each: Json) => collect(each, schemas));
  if (!isObject(schema)) return schema;
  const inner = Object.fromEntries(
    Object.entries(schema).map(([key, value]): [string, Json] => [key, collect(value, schemas)]),
  );
  const { title } = inner;
  if (typeof title !== 'string') return inner;
  schemas.set(title, inner);
  return { $ref: `#/components/schemas/${title}` };
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function toJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}

const errorSchema: Json = {
  title: 'Error',
  type: 'object',
  required: ['detail', 'error_message', 'error_type', 'title', 'type', 'status'],
  properties: {
    detail: { type: 'string', description: 'What happened, why and what to do next' },
    error_message: { type: 'string', description: 'The same' },
    error_type: { type: 'string', enum: Object.keys(apiErrorTable) },
    title: { type: 'string' },
    type: { type: 'string', description: 'Where the type is explained' },
    status: { type: 'integer' },
  },
};
const errorContent: Json = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
