import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import type { OpenScratch } from '../../test/harness/scratch-database.ts';

interface Schema {
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly type?: string;
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly schema?: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
}

/** A value of the schema, in which each free text is this one. */
function sample(schema: Schema | undefined, text: string): unknown {
  if (schema === undefined) return text;
  if (schema.anyOf !== undefined) return sample(schema.anyOf[0], text);
  if (schema.enum !== undefined) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  switch (schema.type) {
    case 'object':
      return Object.fromEntries(
        Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, sample(inner, text)]),
      );
    case 'array':
      return [sample(schema.items, text)];
    case 'integer':
    case 'number':
      return 1;
    case 'boolean':
      return true;
    case 'null':
      return null;
    default:
      return schema.format === 'date-time' ? '2030-01-01T00:00:00Z' : text;
  }
}

const bad = { 'a zero byte': 'x\0y', 'half of a pair': 'x\ud800y' };

/** Requests with texts that PostgreSQL does not take, to each route of the OpenAPI document. */
export function storableRequestsSuite(name: string, openDatabase: OpenScratch): void {
  describe(`requests with texts that cannot be stored, ${name}`, () => {
    let server: ApiHarness;
    let root: string;
    let trigger: string;
    const operations: { path: string; method: string; operation: Operation }[] = [];

    beforeAll(async () => {
      server = await startApiServer({ openDatabase, providers: [] });
      root = await server.addUser('root', { superuser: true });
      await server.addRepository('root/web');
      const made = await call('POST', '/api/v1/repository/root/web/trigger', { service: 'custom-git' });
      trigger = String(made.json.id);
      await call('POST', `/api/v1/repository/root/web/trigger/${trigger}/activate`, {
        config: { build_source: 'https://git.example.com/a/b.git' },
      });
      const { json } = await server.call('GET', '/api/v1/openapi.json');
      for (const [path, methods] of Object.entries(json.paths as Record<string, Record<string, Operation>>))
        for (const [method, operation] of Object.entries(methods))
          operations.push({ path, method, operation });
    });

    afterAll(async () => await server?.[Symbol.asyncDispose]());

    const call = async (method: string, path: string, body?: unknown) =>
      await server.call(method, path, { token: root, ...(body === undefined ? {} : { body }) });
    const address = (path: string, texts: Readonly<Record<string, string>> = {}) =>
      path.replace(/\{(\w+)\}/g, (_whole, parameter: string) => {
        const real: Record<string, string> = { namespace: 'root', repository: 'web', trigger };
        return texts[parameter] ?? real[parameter] ?? 'none';
      });
    const namesIn = (path: string) => [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter = '']) => parameter);

    it('are refused when it is in the path, which is named', async () => {
      let count = 0;
      for (const { path, method } of operations)
        for (const parameter of namesIn(path)) {
          const answer = await call(method.toUpperCase(), address(path, { [parameter]: 'x%00y' }));
          expect([method, path, answer.status]).toEqual([method, path, 400]);
          expect(answer.json.detail).toMatch(new RegExp(`"${parameter}" in the path has a zero byte`));
          count += 1;
        }
      expect(count).toBeGreaterThan(80);
    });

    it('are refused when it is in the query, which is named', async () => {
      let count = 0;
      for (const { path, method, operation } of operations)
        for (const { in: place, name: parameter } of operation.parameters ?? []) {
          if (place !== 'query') continue;
          const answer = await call(method.toUpperCase(), `${address(path)}?${parameter}=x%00y`);
          expect([method, path, parameter, answer.status]).toEqual([method, path, parameter, 400]);
          expect(answer.json.detail).toMatch(new RegExp(`"${parameter}" in the query has a zero byte`));
          count += 1;
        }
      expect(count).toBeGreaterThan(15);
    });

    it.each(Object.entries(bad))('are refused when there is %s in the body', async (_kind, text) => {
      let count = 0;
      for (const { path, method, operation } of operations) {
        const schema = operation.requestBody?.content['application/json']?.schema;
        if (schema === undefined || path.startsWith('/webhooks')) continue;
        const body = sample(schema, text);
        if (!/\\u0000|\\ud800/.test(JSON.stringify(body))) continue;
        const answer = await call(method.toUpperCase(), address(path), body);
        expect([method, path, answer.status, answer.text]).toEqual([method, path, 400, answer.text]);
        expect(answer.json.detail).toMatch(/body has a zero byte or half of a character/);
        count += 1;
      }
      expect(count).toBeGreaterThan(25);
    });

    it.each(Object.entries(bad))('are refused with %s, wherever it is in a body', async (_kind, text) => {
      const source = { archive_url: 'https://sources.example/x.tar' };
      for (const [field, body] of [
        ['build_args.A', { ...source, build_args: { A: text } }],
        ['build_args', { ...source, build_args: { [text]: 'a' } }],
        ['git.ref', { git: { url: 'https://sources.example/a.git', ref: text } }],
        ['docker_tags.1', { ...source, docker_tags: ['a', text] }],
        ['nobody_knows_it', { ...source, nobody_knows_it: text }],
      ] as const) {
        const answer = await call('POST', '/api/v1/repository/root/web/build/', body);
        expect([field, answer.status]).toEqual([field, 400]);
        expect(answer.json.detail).toContain(`"${field}" in the body`);
      }
    });

    it('are no fault of ours when the texts are only unusual', async () => {
      const text = '\u{1F4A9}'.repeat(200);
      for (const { path, method, operation } of operations) {
        if (method === 'delete' || /stream|prune/.test(path)) continue;
        const schema = operation.requestBody?.content['application/json']?.schema;
        const answer = await call(
          method.toUpperCase(),
          address(path),
          schema === undefined ? undefined : sample(schema, text),
        );
        expect([method, path, answer.status < 500, answer.text]).toEqual([method, path, true, answer.text]);
      }
      for (const body of [{ commit_sha: '💩'.repeat(120) }, { commit_sha: `${'💩'.repeat(99)}a` }]) {
        const path = `/api/v1/repository/root/web/trigger/${trigger}/start`;
        expect((await call('POST', path, body)).status).toBeLessThan(500);
      }
    });

    it('are refused from browsers, hosts and the registry’s clients as well', async () => {
      const basic = `Basic ${Buffer.from('x\0y:x\0y').toString('base64')}`;
      for (const [method, path, expected] of [
        ['GET', '/signin?next=%00', 400],
        ['GET', '/x%00y', 404],
        ['POST', '/webhooks/push/trigger/x%00y', 400],
        ['GET', '/health/instance?x=%00', 400],
      ] as const)
        expect([path, (await call(method, path)).status]).toEqual([path, expected]);
      const signedIn = await server.call('GET', '/api/v1/user', { headers: { authorization: basic } });
      expect(signedIn.status).toBe(401);
    });
  });
}
