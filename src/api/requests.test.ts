import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';

let server: ApiHarness;
let token: string;

beforeAll(async () => {
  server = await startApiServer({
    registry: 'echo',
    health: [
      { name: 'database', check: async () => {} },
      {
        name: 'registry',
        check: async () => {
          throw new Error('connection refused');
        },
      },
    ],
  });
  token = await server.addUser('owner');
  await server.addRepository('owner/web');
});
afterAll(async () => await server[Symbol.asyncDispose]());

async function raw(body: string | Uint8Array, contentType = 'application/json') {
  const response = await fetch(`${server.url}/api/v1/filedrop/`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': contentType },
    body,
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

test.each([
  ['broken JSON', '{"mimeType":', 400],
  ['nothing', '', 400],
  ['a list', '[]', 400],
  ['a text', '"mimeType"', 400],
  ['null', 'null', 400],
  ['bytes that are no text', new Uint8Array([0xff, 0xfe, 0x7b]), 400],
  ['a key that reaches the prototype', '{"mimeType":"a/b","__proto__":{"admin":true}}', 400],
  ['the constructor', '{"mimeType":"a/b","constructor":{"prototype":{"admin":true}}}', 400],
  ['a number for a text', '{"mimeType":1}', 400],
  ['no media type', '{"mimeType":"nonsense"}', 400],
  ['a header in a media type', '{"mimeType":"a/b\\r\\nx: y"}', 400],
  ['nesting without end', '['.repeat(100_000), 400],
  ['deep nesting in something good', `{"mimeType":"a/b","x":${'['.repeat(40)}${']'.repeat(40)}}`, 400],
  ['too much', `{"mimeType":"a/b","x":"${'x'.repeat(300_000)}"}`, 413],
])('a body that is %s is refused with a reason', async (_what, body, status) => {
  const answer = await raw(body);
  expect(answer.status).toBe(status);
  expect(answer.json).toMatchObject({ status, error_message: answer.json.detail });
  expect(String(answer.json.detail)).not.toBe('');
});

test('brackets inside texts are no nesting', async () => {
  expect((await raw(JSON.stringify({ mimeType: 'a/b', note: '['.repeat(100) }))).status).toBe(200);
});

test('a body that is no JSON by its type is refused with the type that is wanted', async () => {
  const answer = await raw('mimeType=a/b', 'application/x-www-form-urlencoded');
  expect(answer.status).toBe(415);
  expect(answer.json.detail).toContain('application/json');
});

test.each([
  ['/api/v1/repository/owner/web/build/?limit=many', 400],
  ['/api/v1/repository/owner/web/build/?limit=0', 400],
  ['/api/v1/repository/owner/web/build/?limit=1e9', 400],
  ['/api/v1/repository/owner/web/build/?since=-1', 400],
  ['/api/v1/repository/owner/web/build/?since=never', 400],
  ['/api/v1/repository/owner/web/build/not-an-id', 404],
  ['/api/v1/repository/owner/web/build/00000000-0000-4000-8000-000000000000', 404],
  ['/api/v1/repository/owner/web/build/%00', 400],
  ['/api/v1/repository/owner/web/build/%', 400],
  ['/api/v1/repository/OWNER/web', 404],
  ['/api/v1/repository/owner/..%2f..%2fetc', 404],
  ['/api/v1/repository/owner/%00', 400],
  [`/api/v1/repository/owner/${'a'.repeat(900)}`, 404],
  ['/api/v1/repository?next_page=nonsense', 400],
  ['/api/v1/repository?namespace=%00', 400],
  ['/api/v1/user/tokens/x', 405],
  ['/api/v1/error/constructor', 404],
  ['/api/v1/docs/..%2fserver.ts', 404],
  ['/api/v1/nothing', 404],
  ['/nothing', 404],
])('GET %s answers %i in JSON', async (path, status) => {
  const answer = await server.call('GET', path, { token });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toContain('application/json');
  if (status >= 400) expect(answer.json.status).toBe(status);
});

test('a method that is not possible is refused with the ones that are', async () => {
  const answer = await server.call('PUT', '/api/v1/repository/owner/web/build/', { token });
  expect(answer.status).toBe(405);
  expect(answer.headers.get('allow')).toBe('GET, HEAD, POST');
});

test('HEAD answers as GET does, without a body', async () => {
  for (const path of ['/api/v1/repository/owner/web', '/health/endtoend', '/api/v1/docs']) {
    const get = await server.call('GET', path, { token });
    const head = await server.call('HEAD', path, { token });
    expect([path, head.status, head.text]).toEqual([path, get.status, '']);
  }
});

test('every answer has headers that keep browsers from harm, and none that lets other origins in', async () => {
  for (const path of ['/api/v1/repository', '/api/v1/docs', '/nothing', '/api/v1/superuser/queue']) {
    const { headers } = await server.call('GET', path, { headers: { origin: 'https://evil.example' } });
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
  }
  const preflight = await server.call('OPTIONS', '/api/v1/repository', {
    headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
  });
  expect(preflight.status).toBe(405);
});

test('the page of the documentation uses nothing from elsewhere and no script of its own making', async () => {
  const page = await server.call('GET', '/api/v1/docs');
  expect(page.text).not.toMatch(/<script(?![^>]* src=)|\son[a-z]+=|\sstyle=/);
  const places = [...page.text.matchAll(/(?:src|href)="([^"#]+)"/g)].map((match) => match[1] ?? '');
  for (const place of places.filter((each) => !each.startsWith('data:'))) {
    expect(place).toMatch(/^\/api\/v1\//);
    expect((await server.call('GET', place)).status).toBe(200);
  }
});

test('every reference in the OpenAPI document leads somewhere', async () => {
  const { text, json } = await server.call('GET', '/api/v1/openapi.json');
  const { schemas } = json.components as { schemas: Record<string, unknown> };
  const names = [...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1] ?? '');
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => !Object.hasOwn(schemas, name))).toEqual([]);
});

test('a part that does not work makes the server unhealthy; why is for superusers', async () => {
  const answer = await server.call('GET', '/health/instance');
  expect(answer.status).toBe(503);
  expect(answer.json).toEqual({
    data: { services: { database: true, registry: false } },
    status_code: 503,
  });
  const ordinary = await server.call('GET', '/health/instance', { token });
  expect(ordinary.text).not.toContain('refused');
  const superuser = await server.addUser('health-reader', { superuser: true });
  const expanded = await server.call('GET', '/health/endtoend', { token: superuser });
  expect(expanded.json.data).toMatchObject({
    services_expanded: {
      database: { status: true },
      registry: { status: false, failure: 'connection refused' },
    },
  });
  expect(server.logged.join('')).toContain('connection refused');
});

test('metrics count builds and requests, and name no repository', async () => {
  await server.call('GET', '/api/v1/repository/owner/web', { token });
  const { text } = await server.call('GET', '/metrics');
  expect(text).toContain('quay_queue_items_available_unlocked{queue_name="dockerfilebuild"} 0');
  expect(text).toMatch(
    /slipway_http_requests_total\{method="GET",route="\/api\/v1\/repository\/:namespace\/:repository",status="200"\} \d/,
  );
  expect(text).toContain('process_resident_memory_bytes');
  expect(text).not.toMatch(/"owner|owner\/web/);
});

test('the log of requests has no credentials and no signatures', async () => {
  const drop = await server.call('POST', '/api/v1/filedrop/', { token, body: { mimeType: 'text/plain' } });
  await fetch(String(drop.json.url), { method: 'PUT', body: 'FROM scratch' });
  await server.call('GET', '/api/v1/user', {
    headers: { authorization: `Basic ${Buffer.from(`owner:${password}`).toString('base64')}` },
  });
  // Where an id is wanted, also in disguise.
  const inPath = 'slp_TokenInAPathOfARequest';
  const ofTrigger = 'WriteTokenOfATriggerInAPath1234567890abc';
  for (const each of [inPath, `%73lp_${inPath.slice(4)}`])
    await server.call('DELETE', `/api/v1/user/tokens/${each}`, { token });
  await server.call('POST', `/webhooks/push/trigger/${ofTrigger}?again=${inPath}`, { token });
  const logged = server.logged.join('');
  expect(logged.match(/user\/tokens\/slp_REDACTED/g)).toHaveLength(2);
  expect(logged).toContain('/webhooks/push/trigger/REDACTED?again=REDACTED');
  expect(logged).not.toMatch(/TokenInAPath|WriteTokenOf/);
  expect(logged).toContain('signature=REDACTED');
  const signature = new URL(String(drop.json.url)).searchParams.get('signature') ?? '';
  for (const secret of [token, signature, password, Buffer.from(`owner:${password}`).toString('base64')])
    expect(logged).not.toContain(secret);
});

test('what is below /v2/ is the registry, token requests apart', async () => {
  expect((await server.call('GET', '/v2/')).text).toBe('registry GET /v2/');
  expect((await server.call('PATCH', '/v2/owner/web/blobs/uploads/1?x=y')).text).toBe(
    'registry PATCH /v2/owner/web/blobs/uploads/1?x=y',
  );
  const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  const ask = async (headers: Record<string, string>) =>
    (await server.call('GET', '/v2/auth?service=x&scope=repository:owner/web:pull', { headers })).json.token;
  expect(await ask({})).toBe('for nobody');
  expect(await ask(basic(`owner:${password}`))).toBe('for owner');
  expect(await ask(basic(`$oauthtoken:${token}`))).toBe('for owner');
  expect(await ask(basic(`owner:${token}`))).toBe('for owner');
  expect(await ask(basic(`stranger:${token}`))).toBe('for nobody');
  expect((await server.call('POST', '/v2/auth')).status).toBe(405);
});

test('a client that never sends its body is let go with an answer', async () => {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
  socket.write(
    'POST /api/v1/filedrop/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n',
  );
  let answer = '';
  for await (const piece of socket) answer += String(piece);
  expect(answer).toContain('HTTP/1.1 401');
});

test('every answer names its request, each another', async () => {
  const ids = new Set<string | null>();
  for (const path of ['/api/v1/user', '/health/instance', '/nothing/here', '/api/v1/repository'])
    ids.add((await server.call('GET', path)).headers.get('x-request-id'));
  expect(ids.size).toBe(4);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
});

test('a trace that a request brings goes with its build, though nothing records it here', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  await server.addRepository('owner/traced');
  const path = '/api/v1/repository/owner/traced/build';
  const body = { archive_url: 'https://sources.example/source.tar.gz' };
  const stored = async (headers: Record<string, string>) => {
    const { json } = await server.call('POST', path, { token, body, headers });
    const [build] = await server.queue.builds({ limit: 1 });
    expect(build?.id).toBe(json.id);
    // It is nobody's business who sees the view.
    expect(JSON.stringify(json)).not.toContain('traceparent');
    return build?.traceParent;
  };
  expect(await stored({ traceparent })).toBe(traceparent);
  expect(await stored({ traceparent: 'nonsense' })).toBeUndefined();
  expect(await stored({})).toBeUndefined();
});

test('a browser at an address that is none gets a page, and everybody else JSON', async () => {
  const chrome = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const ask = async (path: string, accept: string, method = 'GET') =>
    await server.call(method, path, { headers: { accept } });
  for (const path of ['/repository', '/api/v1/nothing', '/a"><script>alert(1)</script>']) {
    const page = await ask(path, chrome);
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8']);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.text).toContain('<h1>Nothing here</h1>');
    expect(page.text).not.toMatch(/<script|alert\(|style=/);
    for (const accept of ['*/*', 'application/json', 'text/plain']) {
      const answer = await ask(path, accept);
      expect([accept, answer.status, answer.json.error_type]).toEqual([accept, 404, 'not_found']);
    }
  }
  expect((await ask('/nothing', chrome, 'POST')).json.error_type).toBe('not_found');
  // What there is answers as ever.
  const missing = await server.call('GET', '/api/v1/repository/owner/none', {
    token,
    headers: { accept: chrome },
  });
  expect(missing.json.error_type).toBe('not_found');
  const not = await ask('/signout', chrome);
  expect([not.status, not.headers.get('allow')]).toEqual([405, 'POST']);
  expect(not.text).toContain('<h1>Nothing here</h1>');
});
