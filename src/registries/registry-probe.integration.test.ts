import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryServer } from '../../test/fakes/registry-server.ts';
import { type OwnCertificate, ownCertificate } from '../../test/harness/own-certificate.ts';
import { type RegistryService, startRegistry } from '../../test/services/docker-registry.ts';
import { systemClock as clock } from '../base/clock.ts';
import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import type { ExternalRegistry } from './external-registry.ts';
import { RegistryProbe } from './registry-probe.ts';

let folder: string;
let certificate: OwnCertificate;
let basic: RegistryService;
let secure: RegistryService;
let byToken: RegistryServer;
let website: Server;
const { signal } = new AbortController();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-probe-'));
  certificate = await ownCertificate(folder);
  const users = { ann: 'right' };
  [basic, secure, byToken] = await Promise.all([
    startRegistry({ users }),
    startRegistry({ users, tls: certificate }),
    RegistryServer.start(),
  ]);
  byToken.authorizer.passwords.set('ann', 'right');
  byToken.authorizer.allow('ann', 'team/slipway-check', ['pull', 'push']);
  byToken.authorizer.allow('ann', 'seen/slipway-check', ['pull']);
  website = createServer((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Hello</h1>'),
  );
  await new Promise<void>((resolve) => website.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  website?.close();
  await basic?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
  await byToken?.stop();
  await rm(folder, { recursive: true });
});

function probe(allowed: 'loopback' | 'nothing' = 'loopback'): RegistryProbe {
  const options = allowed === 'loopback' ? { allowCidrs: ['127.0.0.0/8'] } : {};
  return new RegistryProbe({ egress: new EgressGuard(new EgressPolicy(options)), clock });
}

async function problem(
  values: Partial<ExternalRegistry> & { host: string; password?: string },
  by = probe(),
): Promise<{ code: string; message: string } | undefined> {
  const { password = 'right', ...settings } = values;
  const registry: ExternalRegistry = {
    namespace: 'team',
    name: 'test',
    insecure: true,
    prefix: 'team',
    username: 'ann',
    push: true,
    pull: true,
    createdAt: 0,
    changedAt: 0,
    ...settings,
  };
  const found = await by.check({ registry, password }, signal);
  expect(found?.message ?? '').not.toContain(password);
  return found;
}

describe('what is wrong with a registry is found', () => {
  test('nothing, with right credentials, of Basic and of tokens', async () => {
    expect(await problem({ host: basic.host })).toBeUndefined();
    expect(await problem({ host: byToken.host })).toBeUndefined();
    // The uploads that were begun are gone: nothing is left in the list of repositories.
    const catalogue = await fetch(`${basic.url}/v2/_catalog`, {
      headers: { authorization: `Basic ${Buffer.from('ann:right').toString('base64')}` },
    });
    expect(await catalogue.json()).toEqual({ repositories: [] });
  });

  test('wrong credentials', async () => {
    for (const { host } of [basic, byToken]) {
      const found = await problem({ host, password: 'mistaken' });
      expect(found).toMatchObject({ code: 'wrong-credentials' });
      expect(found?.message).toContain('"ann"');
    }
  });

  test('no permission to push, which a registry for pulls does not need', async () => {
    const found = await problem({ host: byToken.host, prefix: 'seen' });
    expect(found).toMatchObject({ code: 'no-push-permission' });
    expect(found?.message).toContain('seen/slipway-check');
    expect(await problem({ host: byToken.host, prefix: 'seen', push: false })).toBeUndefined();
  });

  test('TLS: an authority that is not known, and one that was given; clear text behind TLS', async () => {
    expect(await problem({ host: secure.host, insecure: false })).toMatchObject({ code: 'tls' });
    expect(await problem({ host: secure.host, insecure: false, ca: certificate.pem })).toBeUndefined();
    expect(await problem({ host: basic.host, insecure: false })).toEqual({
      code: 'tls',
      message: `${basic.host} answers, but not with TLS. Check the port; for plain HTTP mark the registry as insecure (--insecure).`,
    });
  });

  test('nobody there, and somebody who is no registry', async () => {
    const { port } = website.address() as AddressInfo;
    expect(await problem({ host: `127.0.0.1:${port}` })).toMatchObject({ code: 'not-a-registry' });
    expect(await problem({ host: '127.0.0.1:1' })).toMatchObject({ code: 'unreachable' });
    expect(await problem({ host: 'no-such-host.invalid', insecure: false })).toMatchObject({
      code: 'unreachable',
    });
  });

  test('an address that users may not lead us to, however it is written', async () => {
    const port = basic.host.split(':')[1];
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `2130706433:${port}`, '169.254.169.254']) {
      const found = await problem({ host, insecure: false }, probe('nothing'));
      expect(found, host).toMatchObject({ code: 'forbidden-address' });
    }
    expect(await problem({ host: basic.host }, probe('nothing'))).toMatchObject({ code: 'insecure' });
  });

  test('a token service that is where users may not lead us to', async () => {
    const realm = 'http://169.254.169.254/token';
    let asked = 0;
    const registry = createServer((_request, response) => {
      asked += 1;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
    const { port } = registry.address() as AddressInfo;
    expect(await problem({ host: `127.0.0.1:${port}` })).toMatchObject({ code: 'forbidden-address' });
    expect(asked).toBe(1);
    registry.close();
  });

  test('a registry that never answers is given up on', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const quick = new RegistryProbe({
      egress: new EgressGuard(new EgressPolicy({ allowCidrs: ['127.0.0.0/8'] })),
      clock: { now: () => Date.now(), sleep: async () => await new Promise(setImmediate) },
    });
    expect(await problem({ host: `127.0.0.1:${port}` }, quick)).toMatchObject({ code: 'unreachable' });
    silent.closeAllConnections();
    silent.close();
  });
});
