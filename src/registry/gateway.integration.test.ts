import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { RegistryServer } from '../../test/fakes/registry-server.ts';
import { ociLayout } from '../../test/harness/oci-layout.ts';
import { systemClock } from '../base/clock.ts';
import { type Digest, digestOf } from '../model/digest.ts';
import { newAttemptId, newBuildId, newJobId } from '../model/ids.ts';
import type { Tag } from '../model/tag.ts';
import type { BuildGrant } from './build-grant.ts';
import { OciClient } from './oci-client.ts';
import { mediaTypes } from './oci-manifest.ts';
import type { RegistryAction } from './registry-access.ts';

let server: RegistryServer;
let folder: string;
const signal = AbortSignal.timeout(120_000);

beforeAll(async () => {
  server = await RegistryServer.start();
  server.authorizer.passwords.set('ann', 'secret');
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-gateway-'));
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});
afterEach(() => {
  expect(server.faults).toEqual([]);
});

let repositories = 0;
/** A repository of its own for each test, which ann may write. */
function newRepository(actions: readonly RegistryAction[] = ['pull', 'push', 'delete']): string {
  repositories += 1;
  const repository = `team/app${repositories}`;
  server.authorizer.allow('ann', repository, actions);
  return repository;
}

function client(username?: string, password = ''): OciClient {
  return new OciClient({
    endpoint: { kind: 'network', host: server.host, security: 'http' },
    credentials: username === undefined ? { kind: 'none' } : { kind: 'password', username, password },
    clock: systemClock,
  });
}

const ann = () => client('ann', 'secret');

async function newBuild(
  repository: string,
  { worker = 'slipway', tags = ['latest'] }: { worker?: BuildGrant['worker']; tags?: readonly string[] } = {},
) {
  const grant: BuildGrant = {
    buildId: newBuildId(),
    jobId: newJobId(),
    attemptId: newAttemptId(),
    epoch: 1,
    worker,
    tags: tags as Tag[],
  };
  server.attempts.current.set(grant.attemptId, grant.epoch);
  const password = await server.buildCredentials.issue({
    grant,
    repository,
    actions: ['pull', 'push'],
    expiresAt: Date.now() + 600_000,
  });
  return { grant, password, client: client('$token', password) };
}

/** A small image with one layer of random bytes: pushes its blobs, returns its manifest. */
async function pushBlobs(to: OciClient, repository: string, layerSize = 1000) {
  const layer = randomBytes(layerSize);
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [] } }),
  );
  for (const bytes of [layer, config]) {
    await to.putBlob(
      repository,
      { digest: digestOf(bytes), size: bytes.length, open: () => Readable.from([bytes]) },
      signal,
    );
  }
  const describe = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: describe('application/vnd.oci.image.config.v1+json', config),
      layers: [describe('application/vnd.oci.image.layer.v1.tar', layer)],
    }),
  );
  return {
    mediaType: mediaTypes.ociManifest,
    bytes,
    digest: digestOf(bytes),
    size: layer.length + config.length,
  };
}

/** One request as it stands, without a client's help. */
async function raw(
  method: string,
  target: string,
  { headers = {}, body }: { headers?: OutgoingHttpHeaders; body?: Buffer } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  return await new Promise((resolve, reject) => {
    const [host, port] = server.host.split(':');
    const outgoing = request({ host, port, method, path: target, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString('utf8'),
        }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

const bearer = async (repository: string, actions: readonly RegistryAction[], build?: BuildGrant) => ({
  authorization: `Bearer ${await server.tokens.issue({
    subject: 'ann',
    access: [{ repository, actions }],
    expiresIn: 60,
    ...(build === undefined ? {} : { build }),
  })}`,
});

describe('without a client', () => {
  test('asks for a token of our own service, and for the scope that is missing', async () => {
    const base = await raw('GET', '/v2/');
    expect(base.status).toBe(401);
    expect(base.headers['www-authenticate']).toBe(
      `Bearer realm="http://${server.host}/v2/auth",service="slipway-registry"`,
    );
    const manifest = await raw('PUT', '/v2/team/app/manifests/x');
    expect(manifest.headers['www-authenticate']).toContain('scope="repository:team/app:pull,push"');
    expect(JSON.parse(manifest.body)).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  });

  test('knows its version once logged in', async () => {
    const answer = await raw('GET', '/v2/', { headers: await bearer('team/app', []) });
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'docker-distribution-api-version': 'registry/2.0' },
    });
  });

  test.each([
    '/v2/_catalog',
    '/v2/_catalog?n=5',
    '/v2/team/../../etc/passwd',
    '/v2/team%2f..%2fapp/tags/list',
    '/v2//manifests/x',
    '/v2/Team/app/tags/list',
    '/v2/team/app/blobs/sha256:short',
    '/v2/team/app/blobs/uploads/..%2f..',
    '/v2/%',
    '/v2/team/app/other',
    '/metrics',
    '/debug/health',
  ])('%s is not there, even for those who may do everything', async (target) => {
    const headers = await bearer('team/app', ['pull', 'push', 'delete']);
    expect((await raw('GET', target, { headers })).status).toBe(404);
  });

  test('refuses other methods', async () => {
    expect((await raw('OPTIONS', '/v2/')).status).toBe(405);
  });

  test('says which token is wrong, and which is not enough', async () => {
    const wrong = await raw('GET', '/v2/team/app/tags/list', { headers: { authorization: 'Bearer x.y.z' } });
    expect(wrong).toMatchObject({ status: 401 });
    expect(wrong.headers['www-authenticate']).toContain('error="invalid_token"');
    const little = await raw('DELETE', `/v2/team/app/manifests/${digestOf('x')}`, {
      headers: await bearer('team/app', ['pull']),
    });
    expect(little).toMatchObject({ status: 401 });
    expect(little.headers['www-authenticate']).toContain('error="insufficient_scope"');
    expect(JSON.parse(little.body)).toMatchObject({ errors: [{ code: 'DENIED' }] });
  });

  test('a token that has run out is refused', async () => {
    const token = await server.tokens.issue({
      subject: 'ann',
      access: [{ repository: 'team/app', actions: ['pull'] }],
      expiresIn: -1,
    });
    const answer = await raw('GET', '/v2/team/app/tags/list', {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(401);
  });

  test('places are paths, right under whatever name the client used', async () => {
    const repository = newRepository();
    const headers = { ...(await bearer(repository, ['pull', 'push'])), 'content-length': '0' };
    const answer = await raw('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    expect(answer.status).toBe(202);
    expect(answer.headers.location).toMatch(
      new RegExp(`^/v2/${repository}/blobs/uploads/[0-9a-f-]+\\?_state=`),
    );
  });

  test('a manifest over 4 MiB is refused', async () => {
    const repository = newRepository();
    const answer = await raw('PUT', `/v2/${repository}/manifests/big`, {
      headers: { ...(await bearer(repository, ['pull', 'push'])), 'content-type': mediaTypes.ociManifest },
      body: Buffer.alloc(4 * 1024 * 1024 + 1),
    });
    expect(answer.status).toBe(413);
  });

  test('a client that goes on sending after it was refused is cut off', async () => {
    const [host, port] = server.host.split(':');
    const socket = connect(Number(port), host);
    const closed = once(socket, 'close');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += String(chunk);
    });
    socket.on('error', () => {});
    socket.write(
      'PATCH /v2/team/app/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n',
    );
    const sending = setInterval(() => socket.write('some more'), 50);
    await closed;
    clearInterval(sending);
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });

  test('a client that goes away in the middle of an upload leaves no request behind', async () => {
    const repository = newRepository();
    const headers = await bearer(repository, ['pull', 'push']);
    const started = await raw('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    const [host, port] = server.host.split(':');
    const outgoing = request({
      host,
      port,
      method: 'PATCH',
      path: String(started.headers.location),
      headers: { ...headers, 'content-length': '1000000' },
    });
    outgoing.on('error', () => {});
    outgoing.write(Buffer.alloc(1000));
    await until(() => server.gateway.open === 1);
    outgoing.destroy();
    await until(() => server.gateway.open === 0);
  });
});

describe('users', () => {
  test('push, pull, list and delete what they may', async () => {
    const repository = newRepository();
    const manifest = await pushBlobs(ann(), repository);
    await ann().putManifest(repository, 'v1' as Tag, manifest, signal);
    expect(await ann().listTags(repository, signal)).toEqual(['v1']);
    expect((await ann().getManifest(repository, 'v1' as Tag, signal)).bytes).toEqual(manifest.bytes);
    expect(server.pushes).toContainEqual({
      repository,
      tag: 'v1',
      digest: manifest.digest,
      mediaType: mediaTypes.ociManifest,
      pusher: 'ann',
    });
    expect(await ann().deleteManifest(repository, manifest.digest, signal)).toBe(true);
    expect(await ann().headManifest(repository, 'v1' as Tag, signal)).toBeUndefined();
  });

  test('may read a public repository without a login, and not write it', async () => {
    const repository = newRepository();
    const manifest = await pushBlobs(ann(), repository);
    await ann().putManifest(repository, 'v1' as Tag, manifest, signal);
    await expect(client().getManifest(repository, 'v1' as Tag, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
    server.authorizer.allow('', repository, ['pull']);
    expect((await client().getManifest(repository, 'v1' as Tag, signal)).digest).toBe(manifest.digest);
    await expect(client().putManifest(repository, 'v2' as Tag, manifest, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
  });

  test('with a wrong password are refused', async () => {
    const repository = newRepository();
    await expect(client('ann', 'wrong').listTags(repository, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
  });

  test('cannot mount what they may not read: it becomes an ordinary upload', async () => {
    const secret = newRepository(['pull', 'push']);
    const manifest = await pushBlobs(ann(), secret);
    const layer = JSON.parse(manifest.bytes.toString()).layers[0].digest as Digest;
    const open = newRepository();
    expect(await ann().mountBlob(open, secret, layer, signal)).toBe(true);
    const other = newRepository();
    server.authorizer.rights.delete(`ann ${secret}`);
    expect(await ann().mountBlob(other, secret, layer, signal)).toBe(false);
    expect(await ann().headBlob(other, layer, signal)).toBeUndefined();
  });
});

describe('builds', () => {
  test('of our own worker push by digest whatever tag they name', async () => {
    const repository = newRepository();
    const { client: worker, grant } = await newBuild(repository);
    const manifest = await pushBlobs(worker, repository);
    expect(await worker.putManifest(repository, 'latest' as Tag, manifest, signal)).toBe(manifest.digest);
    expect(await ann().headManifest(repository, 'latest' as Tag, signal)).toBeUndefined();
    expect((await ann().headManifest(repository, manifest.digest, signal))?.digest).toBe(manifest.digest);
    expect(server.pushes.at(-1)).toEqual({
      repository,
      digest: manifest.digest,
      mediaType: mediaTypes.ociManifest,
      pusher: `build ${grant.buildId}`,
    });
    const by = { buildId: newBuildId(), manager: 'm' };
    await server
      .registry()
      .publish({ repository, digest: manifest.digest, tags: ['latest' as Tag] }, by, signal);
    expect((await ann().headManifest(repository, 'latest' as Tag, signal))?.digest).toBe(manifest.digest);
  });

  test('of a reference worker write the requested tags and no other', async () => {
    const repository = newRepository();
    const { client: worker } = await newBuild(repository, { worker: 'reference', tags: ['v1'] });
    const manifest = await pushBlobs(worker, repository);
    await worker.putManifest(repository, 'v1' as Tag, manifest, signal);
    await expect(worker.putManifest(repository, 'v2' as Tag, manifest, signal)).rejects.toMatchObject({
      code: 'denied',
    });
    expect(await ann().listTags(repository, signal)).toEqual(['v1']);
  });

  test('reach no other repository, but what everybody may read', async () => {
    const mine = newRepository();
    const other = newRepository();
    const manifest = await pushBlobs(ann(), other);
    await ann().putManifest(other, 'v1' as Tag, manifest, signal);
    const { client: worker } = await newBuild(mine);
    await expect(worker.getManifest(other, 'v1' as Tag, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
    server.authorizer.allow('', other, ['pull', 'push']);
    expect((await worker.getManifest(other, 'v1' as Tag, signal)).digest).toBe(manifest.digest);
    await expect(worker.putManifest(other, 'v2' as Tag, manifest, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
    await expect(worker.deleteManifest(mine, digestOf('x'), signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
  });

  test('of a stale epoch get no token, and a token they have is worth nothing for writing at once', async () => {
    const repository = newRepository();
    const { client: worker, grant, password } = await newBuild(repository);
    const manifest = await pushBlobs(worker, repository);
    const headers = await bearer(repository, ['pull', 'push'], grant);
    expect((await raw('GET', `/v2/${repository}/manifests/none`, { headers })).status).toBe(404);

    server.attempts.current.set(grant.attemptId, grant.epoch + 1);
    const before = server.staleRefused;
    const put = await raw('PUT', `/v2/${repository}/manifests/latest`, {
      headers: { ...headers, 'content-type': manifest.mediaType },
      body: manifest.bytes,
    });
    expect(put).toMatchObject({ status: 403 });
    expect(JSON.parse(put.body)).toMatchObject({ errors: [{ code: 'DENIED' }] });
    const start = await raw('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    expect(start.status).toBe(403);
    expect(server.staleRefused - before).toBe(2);
    await expect(client('$token', password).listTags(repository, signal)).rejects.toMatchObject({
      code: 'unauthorized',
    });
    expect(await ann().headManifest(repository, manifest.digest, signal)).toBeUndefined();
  });

  test('the gate is asked at every write, and once a second for reading', async () => {
    const repository = newRepository();
    const { grant } = await newBuild(repository);
    const headers = await bearer(repository, ['pull', 'push'], grant);
    const before = server.attempts.asked;
    for (let n = 0; n < 5; n += 1) await raw('HEAD', `/v2/${repository}/manifests/x`, { headers });
    expect(server.attempts.asked - before).toBeLessThan(5);
    const reads = server.attempts.asked;
    for (let n = 0; n < 3; n += 1) await raw('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    expect(server.attempts.asked - reads).toBe(3);
  });
});

describe('when the registry dies', () => {
  test('an upload in progress fails with 503, and works once it is back', async () => {
    const repository = newRepository();
    const layer = randomBytes(8 * 1024 * 1024);
    const headers = await bearer(repository, ['pull', 'push']);
    const started = await raw('POST', `/v2/${repository}/blobs/uploads/`, { headers });
    const [host, port] = server.host.split(':');
    const broken = new Promise<number>((resolve, reject) => {
      const outgoing = request({
        host,
        port,
        method: 'PATCH',
        path: String(started.headers.location),
        headers: { ...headers, 'content-length': String(layer.length) },
      });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        expect(response.headers['retry-after']).toBe('1');
        response.resume();
        resolve(response.statusCode ?? 0);
        outgoing.destroy();
      });
      outgoing.write(layer.subarray(0, layer.length / 2), () =>
        process.kill(server.embedded.pid ?? 0, 'SIGKILL'),
      );
    });
    expect(await broken).toBe(503);
    // Our own client waits until the registry is back.
    await ann().putBlob(
      repository,
      { digest: digestOf(layer), size: layer.length, open: () => Readable.from([layer]) },
      signal,
    );
    expect(await ann().headBlob(repository, digestOf(layer), signal)).toBe(layer.length);
  });

  test('answers are errors of the protocol meanwhile', async () => {
    const repository = newRepository();
    const headers = await bearer(repository, ['pull']);
    await server.embedded.stop();
    const answer = await raw('GET', `/v2/${repository}/tags/list`, { headers });
    await server.embedded.start();
    expect(answer).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(JSON.parse(answer.body)).toEqual({
      errors: [{ code: 'UNAVAILABLE', message: expect.stringContaining('restarting') }],
    });
    expect((await raw('GET', `/v2/${repository}/tags/list`, { headers })).status).toBe(404);
  });
});

describe('real clients', () => {
  const run = promisify(execFile);
  const environment = () => ({
    ...process.env,
    HOME: folder,
    REGISTRY_AUTH_FILE: path.join(folder, 'auth.json'),
    STORAGE_DRIVER: 'vfs',
    XDG_RUNTIME_DIR: folder,
    TMPDIR: folder,
  });
  const skopeo = (...args: string[]) =>
    run('skopeo', ['--insecure-policy', '--tmpdir', folder, ...args], { env: environment() });
  const storage = () => ['--root', path.join(folder, 'root'), '--runroot', path.join(folder, 'run')];
  const buildah = (...args: string[]) => run('buildah', [...storage(), ...args], { env: environment() });

  test('skopeo copies in and out, and inspects', async () => {
    const repository = newRepository();
    const target = `docker://${server.host}/${repository}:v1`;
    await skopeo(
      'copy',
      '--dest-tls-verify=false',
      '--dest-creds',
      'ann:secret',
      `oci:${await ociLayout(folder)}`,
      target,
    );
    const { stdout } = await skopeo('inspect', '--tls-verify=false', '--creds', 'ann:secret', target);
    expect(JSON.parse(stdout)).toMatchObject({ Name: `${server.host}/${repository}`, RepoTags: ['v1'] });
    await skopeo(
      'copy',
      '--src-tls-verify=false',
      '--src-creds',
      'ann:secret',
      target,
      `dir:${path.join(folder, 'out')}`,
    );
    await expect(skopeo('inspect', '--tls-verify=false', '--no-creds', target)).rejects.toThrow(
      /unauthorized|denied/,
    );
    await expect(skopeo('inspect', '--tls-verify=false', '--creds', 'ann:wrong', target)).rejects.toThrow(
      /unauthorized|authentication|invalid/,
    );
  });

  test('skopeo with a build’s token pushes by digest, until the attempt is over', async () => {
    const repository = newRepository();
    const { password, grant } = await newBuild(repository);
    const digestFile = path.join(folder, 'digest');
    const push = async () =>
      await skopeo(
        'copy',
        '--dest-tls-verify=false',
        '--dest-creds',
        `$token:${password}`,
        '--digestfile',
        digestFile,
        `oci:${await ociLayout(folder)}`,
        `docker://${server.host}/${repository}:latest`,
      );
    await push();
    expect(await ann().listTags(repository, signal)).toEqual([]);
    const pushed = server.pushes.at(-1);
    expect(pushed).toMatchObject({ repository, pusher: `build ${grant.buildId}` });
    expect(pushed?.tag).toBeUndefined();
    server.attempts.current.delete(grant.attemptId);
    await expect(push()).rejects.toThrow(/unauthorized|denied|over/);
  });

  test('buildah logs in, pulls and pushes', async () => {
    const repository = newRepository();
    const image = `${server.host}/${repository}`;
    await skopeo(
      'copy',
      '--dest-tls-verify=false',
      '--dest-creds',
      'ann:secret',
      `oci:${await ociLayout(folder)}`,
      `docker://${image}:v1`,
    );
    await expect(
      buildah('login', '--tls-verify=false', '-u', 'ann', '-p', 'wrong', server.host),
    ).rejects.toThrow(/invalid username|unauthorized/);
    const login = await buildah('login', '--tls-verify=false', '-u', 'ann', '-p', 'secret', server.host);
    expect(login.stdout).toContain('Login Succeeded');
    await buildah('pull', '--tls-verify=false', `${image}:v1`);
    await buildah('push', '--tls-verify=false', `${image}:v1`, `docker://${image}:v2`);
    expect((await ann().listTags(repository, signal)).toSorted()).toEqual(['v1', 'v2']);
    await buildah('rmi', '--all', '--force');
  });
});

/** Waits for a condition, for at most 10 s. */
async function until(holds: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error('it did not come to hold');
    await sleep(5);
  }
}

test('whoever is told of changes hears of what people push and delete, and of nothing that builds do', async () => {
  const repository = newRepository();
  server.imageChanges.splice(0);
  const { client: worker } = await newBuild(repository);
  const built = await pushBlobs(worker, repository);
  await worker.putManifest(repository, 'latest' as Tag, built, signal);
  expect(server.imageChanges).toEqual([]);

  const manifest = await pushBlobs(ann(), repository);
  await ann().putManifest(repository, '1.0' as Tag, manifest, signal);
  await ann().deleteManifest(repository, manifest.digest, signal);
  // The answer to a deletion is passed on as it comes, so the client may be quicker.
  await expect
    .poll(() => server.imageChanges)
    .toEqual([
      { kind: 'push', by: 'ann', repository, reference: '1.0', digest: manifest.digest },
      { kind: 'delete', by: 'ann', repository, reference: manifest.digest },
    ]);
});
