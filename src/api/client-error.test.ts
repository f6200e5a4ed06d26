import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';

let server: ApiHarness;

beforeEach(async () => {
  server = await startApiServer();
});
afterEach(async () => await server[Symbol.asyncDispose]());

test.each([
  ['no HTTP at all', 'hello\r\n\r\n', '400 Bad Request', /not a request of HTTP/],
  ['headers without end', `GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}`, '431 ', /larger than 16 KiB/],
])('%s is answered like every error', async (_what, bytes, status, message) => {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.write(bytes);
  let answer = '';
  socket.on('data', (chunk) => {
    answer += String(chunk);
  });
  await once(socket, 'close');
  expect(answer).toContain(`HTTP/1.1 ${status}`);
  expect(JSON.parse(answer.slice(answer.indexOf('{')))).toMatchObject({
    error_type: 'invalid_request',
    error_message: expect.stringMatching(message),
  });
});
