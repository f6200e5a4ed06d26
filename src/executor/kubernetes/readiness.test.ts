import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ApiClient } from './api-client.ts';
import { BuilderApi } from './builder-api.ts';
import { readinessOf } from './readiness.ts';

let server: Server | undefined;

afterEach(async () => {
  await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
  server = undefined;
});

type Answer = readonly [status: number, body: object];
const denied: Answer = [403, { kind: 'Status', reason: 'Forbidden', message: '' }];

/** A server that speaks this much of the Kubernetes API. `rights`: what the account has. */
async function stepsOf(
  rights: (right: string) => boolean,
  {
    version = [200, { gitVersion: 'v1.35.4' }],
    trying = [201, {}],
  }: { version?: Answer; trying?: Answer } = {},
) {
  const jobs: unknown[] = [];
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = JSON.parse(Buffer.concat(parts).toString() || '{}');
    const answer = (): Answer => {
      if (request.url === '/version') return version;
      if (request.url?.endsWith('/selfsubjectaccessreviews')) {
        const { verb, resource, subresource, group, namespace } = body.spec.resourceAttributes;
        const named = `${verb} ${group}/${resource}${subresource === undefined ? '' : `/${subresource}`}`;
        return [201, { status: { allowed: namespace === 'builds' && rights(named) } }];
      }
      if (request.url === '/apis/batch/v1/namespaces/builds/jobs?dryRun=All') {
        jobs.push(body);
        return trying;
      }
      return [404, {}];
    };
    const [status, said] = answer();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(said));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = new ApiClient({
    connection: async () => ({
      server: `http://127.0.0.1:${port}`,
      headers: {},
      tls: { rejectUnauthorized: true },
    }),
    timeout: 5_000,
  });
  const steps: string[] = [];
  try {
    const context = { executor: 'far', namespace: 'builds' };
    const signal = new AbortController().signal;
    for await (const step of readinessOf(new BuilderApi(client, 'builds'), { kind: 'Job' }, context, signal))
      steps.push(step);
  } catch (thrown) {
    steps.push(String(thrown));
  }
  client.close();
  return { steps, jobs };
}

test('an account with every right, and a Job that is admitted', async () => {
  expect(await stepsOf(() => true)).toEqual({ steps: ['reachable', 'allowed'], jobs: [{ kind: 'Job' }] });
});

test('every right that is missing is named', async () => {
  const { steps, jobs } = await stepsOf((right) => !['get /pods/log', 'patch batch/jobs'].includes(right));
  expect(steps).toEqual([
    'reachable',
    expect.stringMatching(/may not patch jobs, get pods\/log in namespace builds\. Apply .*role\.yaml/),
  ]);
  expect(jobs).toEqual([]);
});

test('a server that answers with a refusal is reached', async () => {
  expect((await stepsOf(() => true, { version: denied })).steps).toEqual(['reachable', 'allowed']);
});

test('a Job that is not admitted says so', async () => {
  const quota: Answer = [403, { reason: 'Forbidden', message: 'jobs "x" is forbidden: exceeded quota: few' }];
  expect((await stepsOf(() => true, { trying: quota })).steps).toEqual([
    'reachable',
    expect.stringMatching(/quota of namespace builds is used up/),
  ]);
});
