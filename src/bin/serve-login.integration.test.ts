import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browser } from '../../test/harness/browser.ts';
import { nameOf } from '../../test/harness/login-return.ts';
import { ServeProcess } from '../../test/harness/serve-process.ts';
import { agree, OpenIdServer } from '../../test/services/openid.ts';
import { freePort } from '../../test/services/service.ts';

/** Signing in at a real `slipway serve` by a real OpenID provider, as the configuration says. */
let openId: OpenIdServer;
let server: ServeProcess;
let url: string;

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  openId = await OpenIdServer.start([`${url}/oauth2/company/callback`]);
  server = await ServeProcess.start({
    config: {
      SERVER_HOSTNAME: `127.0.0.1:${port}`,
      PREFERRED_URL_SCHEME: 'http',
      DB_URI: 'sqlite:///slipway.db',
      FEATURE_BUILD_SUPPORT: false,
      FEATURE_DIRECT_LOGIN: false,
      SUPER_USERS: ['root'],
      COMPANY_LOGIN_CONFIG: {
        OIDC_SERVER: openId.url,
        CLIENT_ID: 'slipway',
        SERVICE_NAME: 'the company',
        DEBUGGING: true,
      },
      SLIPWAY: { LISTEN: { ADDRESS: '127.0.0.1', PORT: port, ONE_PORT: true }, DRAIN_TIME: 1 },
    },
    environment: { SLIPWAY_COMPANY_LOGIN_CONFIG__CLIENT_SECRET: 'the secret of the client' },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await openId[Symbol.asyncDispose]();
});

test('the page has what is configured, and nothing else', async () => {
  const { text } = await new Browser().request(`${url}/signin`);
  expect(text).toContain('Sign in with the company');
  expect(text).not.toContain('type="password"');
});

test('who comes from the provider is signed in, and no superuser by being called like one', async () => {
  const browser = new Browser();
  await agree(browser, await browser.go(`${url}/oauth2/company`), 'root');
  expect(await nameOf(browser, url)).toBe('root-2');
  const { text } = await browser.request(`${url}/api/v1/user`);
  expect(JSON.parse(text)).toMatchObject({ super_user: false });
});
