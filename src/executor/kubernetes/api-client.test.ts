import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ApiClient, type ApiFailure, type Call } from './api-client.ts';

const token = 'sha256~Abcdefghijklmnopqrstuv';
const call: Call = { method: 'GET', path: '/x', verb: 'get', resource: 'x' };
let server: Server | undefined;

afterEach(async () => {
  await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined));
});

async function refused(answer: (request: IncomingMessage) => string): Promise<ApiFailure> {
  const api = createServer((request, response) => response.writeHead(418).end(answer(request)));
  server = api;
  await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
  const { port } = api.address() as AddressInfo;
  const client = new ApiClient({
    connection: async () => ({
      server: `http://127.0.0.1:${port}`,
      headers: { authorization: `Bearer ${token}` },
      tls: { rejectUnauthorized: true },
    }),
    timeout: 5_000,
  });
  const thrown: unknown = await client.text(call).catch((failure: unknown) => failure);
  client.close();
  return thrown as ApiFailure;
}

test.each<[string, (sent: string) => string]>([
  [
    'as the API does',
    (sent) => JSON.stringify({ reason: token, message: `You sent ${sent}, that is ${token}.` }),
  ],
  ['in a page', (sent) => `<h1>418</h1> authorization=${sent} key ${token}`],
  ['at the place where a long answer is cut', (sent) => `${'x'.repeat(190)} ${sent}`],
])('what is repeated of the token in an answer %s is not shown', async (_, say) => {
  const failure = await refused(({ headers }) => say(headers.authorization ?? ''));
  expect(failure.status).toBe(418);
  expect(`${failure.reason} ${failure.message}`).not.toMatch(/sha256|Abcdef/);
});

test('a long Status is read in whole', async () => {
  const message = `jobs "x" is invalid: ${'spec.template: '.repeat(300)}`;
  const failure = await refused(() => JSON.stringify({ reason: 'Invalid', message }));
  expect(failure.reason).toBe('Invalid');
  expect(failure.message).toMatch(/^jobs "x" is invalid/);
});
