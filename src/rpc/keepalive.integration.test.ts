import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChannelCredentials } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { TcpProxy } from '../../test/fakes/tcp-proxy.ts';
import { ownCertificate } from '../../test/harness/own-certificate.ts';
import { systemClock } from '../base/clock.ts';
import { BuildManagerClient } from './generated/buildman.ts';
import { ManagerLink, type ManagerLinkOptions } from './manager-link.ts';

/** Soon enough for a test; the other side's is the usual one, so that it is sure who noticed. */
const soon = { every: 200, timeout: 300 };
const capabilities = { version: '1', logBatches: true, pushesByDigest: true, engine: 'dummy', platform: '' };

let folder: string;
let material: { key: string; cert: string };
const disposables: AsyncDisposable[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-keepalive-'));
  const { key, pem } = await ownCertificate(folder);
  material = { key: await readFile(key, 'utf8'), cert: pem };
});
afterAll(async () => await rm(folder, { recursive: true }));
afterEach(async () => {
  for (const disposable of disposables.splice(0).reverse()) await disposable[Symbol.asyncDispose]();
});

async function behindProxy(tls: boolean, keepalive?: typeof soon) {
  const manager = await ManagerServer.start(tls ? material : undefined, keepalive);
  disposables.push(manager);
  const proxy = await TcpProxy.open({ targets: [Number(manager.address.split(':')[1])] });
  disposables.push(proxy);
  return { manager, proxy };
}

/** Heartbeats are so rare that their silence says nothing; only the connection can be noticed to be gone. */
async function linkThrough(
  { manager, proxy }: Awaited<ReturnType<typeof behindProxy>>,
  options: Partial<ManagerLinkOptions>,
): Promise<ManagerLink> {
  const attempt = manager.sessions.add();
  const link = new ManagerLink({
    server: `localhost:${proxy.port}`,
    clock: systemClock,
    log: () => {},
    heartbeatEvery: 60_000,
    ...options,
  });
  disposables.push({ [Symbol.asyncDispose]: () => link.close() });
  await link.connect();
  await link.register(await manager.registrationToken(attempt.identity), capabilities);
  await manager.sessions.until(() => attempt.heartbeats > 0);
  return link;
}

describe.each([
  ['clear text', false],
  ['TLS', true],
])('on the one port, %s', (_name, tls) => {
  const linkTls = () => (tls ? { tls: { ca: Buffer.from(material.cert) } } : {});

  test('the server cuts the connection of a worker that is gone without a word', async () => {
    const { manager, proxy } = await behindProxy(tls, soon);
    const client = new BuildManagerClient(
      `localhost:${proxy.port}`,
      tls ? ChannelCredentials.createSsl(Buffer.from(material.cert)) : ChannelCredentials.createInsecure(),
    );
    const { identity } = manager.sessions.add();
    const call = client.heartbeat();
    const broken = new Promise((resolve) => call.once('error', resolve));
    const jobJwt = await manager.tokens.sign('build_job_token', identity, 60);
    // Over several rounds of questions: who answers them is left alone.
    for (const begin = performance.now(); performance.now() - begin < 2 * (soon.every + soon.timeout); ) {
      const answer = new Promise((resolve) => call.once('data', resolve));
      call.write({ jobJwt });
      expect(await answer).toMatchObject({ reply: true });
    }
    const stalled = performance.now();
    proxy.set({ kind: 'stalled' });
    await expect.poll(() => manager.connections, { timeout: 4_000, interval: 20 }).toBe(0);
    expect(performance.now() - stalled).toBeGreaterThan(soon.timeout / 2);
    client.close();
    proxy.set({ kind: 'fair' });
    await broken;
  });

  test('the worker gives up a connection whose manager is gone without a word', async () => {
    const parts = await behindProxy(tls);
    const link = await linkThrough(parts, { keepalive: soon, giveUpAfter: 100, ...linkTls() });
    parts.proxy.set({ kind: 'stalled' });
    await expect.poll(() => link.ended.aborted, { timeout: 4_000, interval: 20 }).toBe(true);
    expect(link.ended.reason).toMatchObject({ code: 'unreachable' });
  });

  test('a worker whose connection was gone goes on over another one', async () => {
    const parts = await behindProxy(tls);
    const link = await linkThrough(parts, { keepalive: soon, ...linkTls() });
    const before = parts.manager.connections;
    parts.proxy.set({ kind: 'stalled' });
    // It tries another one, which stalls as well.
    await expect
      .poll(() => parts.manager.connections, { timeout: 4_000, interval: 20 })
      .toBeGreaterThan(before);
    parts.proxy.set({ kind: 'fair' });
    expect(await link.setPhase({ kind: 'stage', stage: 'unpacking' })).toBe(true);
  });
});
