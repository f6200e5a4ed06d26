import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { ChannelCredentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ReferencePack, ReferenceWorker } from '../../test/fakes/reference-worker/reference-worker.ts';
import { type OwnCertificate, ownCertificate } from '../../test/harness/own-certificate.ts';
import { RemoteUser, ServeProcess } from '../../test/harness/serve-process.ts';
import { until } from '../../test/harness/slipway-server.ts';
import { freePort } from '../../test/services/service.ts';
import { systemClock } from '../base/clock.ts';
import { digestOf } from '../model/digest.ts';
import { parseTag } from '../model/tag.ts';
import { OciClient } from '../registry/oci-client.ts';
import { BuildManagerClient } from '../rpc/generated/buildman.ts';

const run = promisify(execFile);

/**
 * One server that speaks TLS on its port for everything and on the one for gRPC, and clear text on the other one for
 * gRPC. Its workers are programs that know only the protocol everybody shares; the test plays their part.
 */
let folder: string;
let tls: OwnCertificate;
let ports: { readonly main: number; readonly clear: number; readonly encrypted: number };
const servers: ServeProcess[] = [];

/** What an existing worker binary would be: it says what it was given, and stays until it may go. */
const worker = `#!/bin/sh
printf '%s\\n%s\\n%s\\n' "$SERVER" "$INSECURE" "$TOKEN" > given.new && mv given.new given
while [ ! -e done ]; do sleep 0.05; done
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-serve-tls-'));
  await chmod(folder, 0o711);
  tls = await ownCertificate(folder);
  await writeFile(join(folder, 'worker'), worker, { mode: 0o755 });
  ports = { main: await freePort(), clear: await freePort(), encrypted: await freePort() };
});

afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function serve(buildman: number, more: Record<string, unknown> = {}): Promise<ServeProcess> {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]();
  const server = await ServeProcess.start({
    config: {
      SERVER_HOSTNAME: `localhost:${ports.main}`,
      PREFERRED_URL_SCHEME: 'https',
      BUILDMAN_HOSTNAME: `127.0.0.1:${buildman}`,
      DB_URI: 'sqlite:///slipway.db',
      DATABASE_SECRET_KEY: randomBytes(32).toString('hex'),
      SECRET_KEY: randomBytes(32).toString('hex'),
      DISTRIBUTED_STORAGE_CONFIG: {
        default: ['LocalStorage', { storage_path: join(folder, `storage-${buildman}`) }],
      },
      DISTRIBUTED_STORAGE_PREFERENCE: ['default'],
      BUILD_MANAGER: [
        'ephemeral',
        {
          ALLOWED_WORKER_COUNT: 2,
          EXECUTORS: [{ EXECUTOR: 'popen', BUILDER_BINARY_LOCATION: join(folder, 'worker') }],
        },
      ],
      SLIPWAY: {
        LISTEN: {
          ADDRESS: '127.0.0.1',
          PORT: ports.main,
          GRPC_PORT: ports.clear,
          GRPC_TLS_PORT: ports.encrypted,
        },
        TLS: { CERTIFICATE: tls.certificate, KEY: tls.key },
        DRAIN_TIME: 0,
      },
      ...more,
    },
    environment: { NODE_EXTRA_CA_CERTS: tls.certificate },
  });
  servers.push(server);
  return server;
}

/** Node's fetch knows no authority of ours, curl does. */
async function https(path: string, ...args: string[]): Promise<{ status: number; body: string }> {
  const { stdout } = await run('curl', [
    '-sS',
    ...['--cacert', tls.certificate, '-w', '\n%{http_code}', ...args],
    `https://localhost:${ports.main}${path}`,
  ]);
  const lines = stdout.split('\n');
  return { status: Number(lines.pop()), body: lines.join('\n') };
}

function ping(server: string, credentials: ChannelCredentials): Promise<string> {
  const client = new BuildManagerClient(server, credentials);
  return new Promise<string>((resolve, reject) => {
    client.ping({}, (error, { reply } = { reply: '' }) => (error === null ? resolve(reply) : reject(error)));
  }).finally(() => client.close());
}

async function given(
  server: ServeProcess,
): Promise<{ cwd: string; server: string; insecure: string; token: string }> {
  return await until('a worker to be started', async () => {
    for (const name of await readdir(join(server.data, 'workers'))) {
      const cwd = join(server.data, 'workers', name);
      const text = await readFile(join(cwd, 'given'), 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      const [address = '', insecure = '', token = ''] = text.split('\n');
      return { cwd, server: address, insecure, token };
    }
    return undefined;
  });
}

/** As its engine does: with the push token as password, under the tags it was told. */
async function push(pack: ReferencePack): Promise<string> {
  const registry = new OciClient({
    endpoint: { kind: 'network', host: pack.registry, security: 'tls', ca: tls.pem },
    credentials: { kind: 'password', username: '$token', password: pack.push_token },
    clock: systemClock,
  });
  const signal = AbortSignal.timeout(20_000);
  try {
    const put = async (bytes: Buffer) => {
      const blob = { digest: digestOf(bytes), size: bytes.length };
      await registry.putBlob(pack.repository, { ...blob, open: () => Readable.from([bytes]) }, signal);
      return blob;
    };
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const config = await put(Buffer.from(JSON.stringify({ os: 'linux', architecture: 'amd64' })));
    const layer = await put(randomBytes(300));
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer }],
      }),
    );
    for (const name of pack.tag_names) {
      const tag = parseTag(name);
      if (tag === undefined) throw new Error(`bad tag ${name}`);
      await registry.putManifest(pack.repository, tag, { mediaType, bytes }, signal);
    }
    return digestOf(bytes);
  } finally {
    registry.close();
  }
}

/** Asks for a build over https by curl, and gives the path of its view. */
async function askForBuild(login: string): Promise<string> {
  const post = async (path: string, body: object) => {
    const headers = ['-H', 'content-type: application/json'];
    const answer = await https(path, '-u', login, ...headers, '-d', JSON.stringify(body));
    if (answer.status !== 201 && answer.status !== 200)
      throw new Error(`${path}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body) as Record<string, string>;
  };
  await post('/api/v1/repository', {
    namespace: 'root',
    repository: 'web',
    visibility: 'private',
    description: '',
  });
  const drop = await post('/api/v1/filedrop/', { mimeType: 'text/plain' });
  expect(drop.url).toMatch(new RegExp(`^(/|https://localhost:${ports.main}/)`));
  const path = new URL(drop.url ?? '', `https://localhost:${ports.main}`);
  const sent = await https(
    `${path.pathname}${path.search}`,
    '-T',
    join(folder, 'Dockerfile'),
    '-H',
    'content-type: text/plain',
  );
  expect(sent.status, sent.body).toBeLessThan(300);
  const { id } = await post('/api/v1/repository/root/web/build/', {
    file_id: drop.file_id,
    docker_tags: ['one', 'two'],
  });
  return `/api/v1/repository/root/web/build/${id}`;
}

test.each(['clear', 'encrypted'] as const)(
  'a worker that knows only the shared protocol builds over the %s port of gRPC',
  async (kind) => {
    const server = await serve(ports[kind]);
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
    const login = `root:${server.createUser('root')}`;
    const view = await askForBuild(login);
    const order = await given(server);
    expect(order).toMatchObject({
      server: `127.0.0.1:${ports[kind]}`,
      insecure: kind === 'clear' ? 'true' : 'false',
    });
    const authority = kind === 'clear' ? undefined : Buffer.from(tls.pem);
    const played = await ReferenceWorker.connect(order.server, {}, authority);
    let digest = '';
    const pack = await played.build(order.token, {
      messages: ['{"stream":"Step 1/1 : FROM scratch\\n"}'],
      push: async (received) => {
        digest = await push(received);
      },
    });
    await writeFile(join(order.cwd, 'done'), '');
    expect(pack.registry).toBe(`localhost:${ports.main}`);
    expect(pack.package_url).toMatch(new RegExp(`^https://localhost:${ports.main}/`));
    const ended = await until('the build to end', async () => {
      const seen = JSON.parse((await https(view, '-u', login)).body) as { phase: string; digest: string };
      return ['complete', 'error', 'internalerror', 'expired'].includes(seen.phase) && seen;
    });
    expect(ended).toMatchObject({ phase: 'complete', digest });
    expect(played.beats.every((reply) => reply)).toBe(true);
  },
);

test('one port has REST, registry and gRPC by TLS, and a certificate that is replaced is taken up', async () => {
  const server = await serve(ports.main);
  const health = await https('/health/instance', '-D', join(folder, 'headers'));
  expect(health.status, health.body).toBe(200);
  expect(await readFile(join(folder, 'headers'), 'utf8')).toMatch(/strict-transport-security/i);
  // Nobody here is a trusted proxy.
  const forged = ['-H', 'x-forwarded-host: evil.example', '-H', 'x-forwarded-proto: http'];
  const registry = await https('/v2/', '-D', join(folder, 'headers'), ...forged);
  expect(registry.status).toBe(401);
  expect(await readFile(join(folder, 'headers'), 'utf8')).toContain(
    `realm="https://localhost:${ports.main}/v2/auth"`,
  );
  const ssl = ChannelCredentials.createSsl(Buffer.from(tls.pem));
  expect(await ping(`localhost:${ports.main}`, ssl)).toBe('pong');
  expect(await ping(`localhost:${ports.encrypted}`, ssl)).toBe('pong');
  expect(await ping(`localhost:${ports.clear}`, ChannelCredentials.createInsecure())).toBe('pong');

  const next = await ownCertificate(folder, 'next');
  await copyFile(next.key, tls.key);
  await copyFile(next.certificate, tls.certificate);
  for (const port of [ports.main, ports.encrypted]) {
    await until(
      `port ${port} to show the next certificate`,
      async () => {
        const socket = connect({
          port,
          host: '127.0.0.1',
          servername: 'localhost',
          ca: next.pem,
          ALPNProtocols: ['h2'],
        });
        return await new Promise<boolean>((resolve) => {
          socket.once('secureConnect', () => resolve(true));
          socket.once('error', () => resolve(false));
        }).finally(() => socket.destroy());
      },
      20,
    );
  }
  expect(await server.log()).toContain('another TLS certificate is in use');
  // What local workers trust follows.
  expect(await readFile(join(server.data, 'workers/authorities.pem'), 'utf8')).toContain(next.pem.trim());
});

test('behind a trusted proxy that ends TLS, what it says of the client counts', async () => {
  const server = await serve(ports.clear, {
    EXTERNAL_TLS_TERMINATION: true,
    SERVER_HOSTNAME: 'builds.example.com',
    SLIPWAY: {
      LISTEN: { ADDRESS: '127.0.0.1', PORT: ports.main, GRPC_PORT: ports.clear },
      TRUSTED_PROXIES: ['127.0.0.1/32'],
      DRAIN_TIME: 0,
    },
  });
  const challenge = async (headers: Record<string, string>) =>
    (await fetch(`http://127.0.0.1:${ports.main}/v2/`, { headers })).headers.get('www-authenticate');
  expect(
    await challenge({ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'builds.example.com' }),
  ).toContain('realm="https://builds.example.com/v2/auth"');
  // Also without a word of the proxy: what reaches it in clear text came by TLS.
  expect(await challenge({})).toContain('realm="https://');
  const user = RemoteUser.withPassword(`http://127.0.0.1:${ports.main}`, 'root', server.createUser('root'));
  expect((await user.fetch('/api/v1/user/tokens')).status).toBe(200);
});
