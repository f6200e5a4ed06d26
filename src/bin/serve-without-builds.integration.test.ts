import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RemoteUser, ServeProcess } from '../../test/harness/serve-process.ts';
import { freePort } from '../../test/services/service.ts';
import { systemClock } from '../base/clock.ts';
import { digestOf } from '../model/digest.ts';
import { OciClient } from '../registry/oci-client.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-switched-off-'));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

test('a server whose builds are switched off says so, refuses new ones and shows those there are', async () => {
  const port = await freePort();
  const secretKey = randomBytes(32).toString('hex');
  // Others build for it, and there are none, so that a build waits.
  await using server = await ServeProcess.start({
    config: {
      SERVER_HOSTNAME: `127.0.0.1:${port}`,
      PREFERRED_URL_SCHEME: 'http',
      DB_URI: `sqlite:///${folder}/slipway.db`,
      DATABASE_SECRET_KEY: secretKey,
      SECRET_KEY: secretKey,
      DISTRIBUTED_STORAGE_CONFIG: { default: ['LocalStorage', { storage_path: join(folder, 'storage') }] },
      DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
      BUILD_MANAGER: ['external', {}],
      SLIPWAY: { LISTEN: { ADDRESS: '127.0.0.1', PORT: port, GRPC_PORT: await freePort() } },
    },
  });
  const password = server.createUser('kim');
  const kim = await RemoteUser.withPassword(`http://127.0.0.1:${port}`, 'kim', password).withToken();
  const build = await kim.build('web', 'FROM scratch\n');
  expect(await server.output()).not.toContain('switched off');
  expect(await server.kill('SIGTERM')).toBe(0);

  const config = JSON.parse(await readFile(server.configFile, 'utf8')) as Record<string, unknown>;
  await writeFile(server.configFile, JSON.stringify({ ...config, FEATURE_BUILD_SUPPORT: false }));
  await server.start();
  expect(await server.output()).toContain('builds are switched off (FEATURE_BUILD_SUPPORT: false)');
  await expect(kim.build('web', 'FROM scratch\n')).rejects.toThrow(/409 .*FEATURE_BUILD_SUPPORT/);
  expect((await build.view()).phase).toBe('waiting');
  expect((await build.cancel()).status).toBe(201);
  expect((await build.view()).phase).toBe('cancelled');

  // Read only, images can be pulled besides, but not pushed.
  expect(await server.kill('SIGTERM')).toBe(0);
  await writeFile(server.configFile, JSON.stringify({ ...config, REGISTRY_STATE: 'readonly' }));
  await server.start();
  expect(await server.output()).toContain('the server is read only (REGISTRY_STATE: readonly)');
  await expect(kim.build('web', 'FROM scratch\n')).rejects.toThrow(/503 .*REGISTRY_STATE/);
  expect((await build.view()).phase).toBe('cancelled');
  const registry = new OciClient({
    endpoint: { kind: 'network', host: `127.0.0.1:${port}`, security: 'http' },
    credentials: { kind: 'password', username: 'kim', password },
    clock: systemClock,
  });
  const signal = AbortSignal.timeout(10_000);
  expect(await registry.listTags('kim/web', signal)).toEqual([]);
  const layer = Buffer.from('layer');
  const pushed = registry.putBlob(
    'kim/web',
    { digest: digestOf(layer), size: layer.length, open: () => Readable.from([layer]) },
    signal,
  );
  await expect(pushed).rejects.toThrow(/read only for now/);
});
