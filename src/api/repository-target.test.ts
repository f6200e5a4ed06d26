import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';

let server: ApiHarness;
let kim: string;
let lee: string;

beforeAll(async () => {
  server = await startApiServer({ allowHosts: ['127.0.0.1'] });
  kim = await server.addUser('kim');
  lee = await server.addUser('lee');
  const mine = await server.addRepository('kim/mine');
  await server.addRepository('kim/web');
  await server.accounts.setPermission(mine, 'lee', 'admin');
  await server.registries.create({
    ...{ namespace: 'kim', name: 'quay', host: '127.0.0.1:1', insecure: true, prefix: 'acme' },
    ...{ username: 'kim', password: 'p', push: true, pull: false },
  });
});
afterAll(async () => await server[Symbol.asyncDispose]());

const publishTo = async (token: string, path?: string) => {
  const body = { registry: 'quay', ...(path === undefined ? {} : { path }) };
  return await server.call('PUT', '/api/v1/repository/kim/mine/target', { token, body });
};

test('who administers one repository of a namespace publishes nowhere but under its name', async () => {
  expect((await publishTo(lee, 'web')).status).toBe(403);
  expect((await publishTo(lee, 'mine/more')).status).toBe(403);
  // Nobody listens there: these came as far as that.
  for (const asked of [await publishTo(lee), await publishTo(lee, 'mine'), await publishTo(kim, 'web')])
    expect([asked.status, asked.json.detail]).toEqual([400, expect.stringContaining('127.0.0.1:1')]);
});
