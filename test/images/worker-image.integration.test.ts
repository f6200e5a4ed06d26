import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock as clock } from '../../src/base/clock.ts';
import { DummyExecutor } from '../../src/executor/dummy-executor.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { packFolder } from '../harness/build-client.ts';
import { ownCertificate } from '../harness/own-certificate.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';
import { WorkerImages } from '../harness/worker-images.ts';

const run = promisify(execFile);
const minutes = 60_000;

/**
 * Slipway builds the image of its own worker, and a container of that image builds for a Slipway. As root, because
 * a container needs all ids (as in a pod): podman without root gives it 65,536, too few to map any into.
 */
describe.runIf(process.getuid?.() === 0)('the image of the worker', () => {
  let folder: string;
  let images: WorkerImages;
  let server: WholeServer;
  /** How the next worker is run, and what it printed. */
  let flags: readonly string[] = [];
  let variables: Readonly<Record<string, string>> = {};
  let printed = '';
  let certificate: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-image-'));
    // The account of the workers must be able to pass through.
    await chmod(folder, 0o711);
    certificate = (await ownCertificate(folder)).pem;
    images = await WorkerImages.start(join(folder, 'images'));
    server = await startWholeServer({
      before: [{ executor: new DummyExecutor({ name: 'podman', clock, work }) }],
    });
  }, 20 * minutes);

  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await images?.[Symbol.asyncDispose]();
    await podman('rm', '--all', '--force', '--volumes').catch(() => {});
    await podman('volume', 'rm', '--all', '--force').catch(() => {});
    for (const mount of (await mounts()).reverse()) await run('umount', [mount]);
    expect(await mounts()).toEqual([]);
    await rm(folder, { recursive: true, force: true });
  }, 3 * minutes);

  async function mounts(): Promise<string[]> {
    const table = await readFile('/proc/self/mounts', 'utf8');
    return table.split('\n').flatMap((line) => {
      const [, place = ''] = line.split(' ');
      return place.startsWith(`${folder}/`) ? [place] : [];
    });
  }

  /** A podman with a store of its own. */
  function podmanArguments(args: readonly string[]): string[] {
    return [
      ...['--root', join(folder, 'store'), '--runroot', join(folder, 'run'), '--tmpdir', join(folder, 'tmp')],
      ...['--volumepath', join(folder, 'volumes'), '--cgroup-manager=cgroupfs', '--events-backend=none'],
      ...args,
    ];
  }

  async function podman(...args: string[]): Promise<string> {
    return (await run('podman', podmanArguments(args), { maxBuffer: 1e8 })).stdout.trim();
  }

  /** Runs the image to its end; what it prints is kept. */
  async function container(
    tag: string,
    environment: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<number> {
    const names = Object.keys(environment).flatMap((name) => ['--env', name]);
    const child = spawn(
      'podman',
      podmanArguments([
        'run',
        ...['--rm', '--network=host', '--pull=never'],
        // Those podman chooses are more than a machine may allow.
        ...['--ulimit=nproc=4096:4096', '--ulimit=nofile=4096:4096'],
        ...flags,
        ...names,
        images.reference(tag),
      ]),
      { env: { ...process.env, ...environment }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    signal?.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
      });
    const [code] = (await once(child, 'close')) as [number | null];
    return code ?? -1;
  }

  let tag = '';
  async function work(order: WorkerOrder, signal: AbortSignal) {
    const exitCode = await container(
      tag,
      {
        TOKEN: order.token,
        BUILD_UUID: order.buildId,
        SERVER: order.server,
        INSECURE: String(!order.serverTls),
        REGISTRY_HOSTNAME: order.registryHost,
        EXECUTOR: 'podman',
        ...variables,
      },
      signal,
    );
    expect(printed).not.toContain(order.token);
    return { exitCode, output: printed };
  }

  async function buildImage(target: 'rootless' | 'root'): Promise<void> {
    await podman('pull', '--quiet', ...images.login, await images.build(target));
  }

  /** Has a real image built by a container of the image; what came of it. */
  async function buildWith(image: string): Promise<{ view: Record<string, unknown>; log: string }> {
    tag = image;
    printed = '';
    const source = join(folder, `source-${image}`);
    await mkdir(source);
    await copyFile('/bin/busybox', join(source, 'busybox'));
    await writeFile(
      join(source, 'Dockerfile'),
      [
        'FROM scratch',
        'COPY busybox /bin/busybox',
        'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox id -u; echo made > /made"]',
        '',
      ].join('\n'),
    );
    const mimeType = await packFolder(source, 'tar.gz', `${source}.tar.gz`);
    const drop = await server.call('POST', '/api/v1/filedrop', { mimeType });
    await fetch(String(drop.json.url), {
      method: 'PUT',
      body: await readFile(`${source}.tar.gz`),
      headers: { 'content-type': mimeType },
    });
    const path = `/api/v1/repository/kim/${image}/build`;
    await server.call('POST', '/api/v1/repository', {
      namespace: 'kim',
      repository: image,
      visibility: 'private',
      description: '',
    });
    const asked = await server.call('POST', path, { file_id: drop.json.file_id, docker_tags: ['made'] });
    expect(asked.status, asked.text).toBe(201);
    const log = (await server.call('GET', `${path}/${asked.json.id}/logs/stream`)).text;
    return { view: (await server.call('GET', `${path}/${asked.json.id}`)).json, log };
  }

  async function served(repository: string): Promise<string> {
    const { stdout } = await run('skopeo', [
      ...['inspect', '--format', '{{.Digest}}', '--tls-verify=false', '--creds', 'kim:correct horse'],
      `docker://${server.host}/kim/${repository}:made`,
    ]);
    return stdout.trim();
  }

  test('is built by Slipway, and works in a container like that of a pod: one account, two capabilities', {
    timeout: 20 * minutes,
  }, async () => {
    await buildImage('rootless');
    flags = [
      ...['--user=1000:1000', '--cap-drop=all', '--cap-add=setuid,setgid'],
      // As the executor asks of Kubernetes: the usual profile refuses namespaces to processes without rights.
      '--security-opt=seccomp=unconfined',
    ];
    variables = {
      CONTAINER_RUNTIME: 'podman',
      BUILDAH_ISOLATION: 'chroot',
      BULDAH_ISOLATION: 'chroot',
      DOCKER_HOST: 'unix:///tmp/podman-run-1000/podman/podman.sock',
      CA_CERT: certificate,
      GIT_SSL_CAINFO: '/certs/cacert.crt',
      TLS_CERT_PATH: '/certs/cacert.crt',
      SSL_CERT_FILE: '/certs/cacert.crt',
      DEBUG: 'false',
    };
    const { view, log } = await buildWith('rootless');
    expect(view, `${printed}\n${log}`).toMatchObject({ phase: 'complete' });
    expect(await served('rootless')).toBe(view.digest);
    expect(printed).toContain("besides the machine's (/certs/cacert.crt)");
    expect(log).toContain('Isolation is only chroot');
    expect(log).toContain('keeps parts of /proc');
  });

  test('with the target root it starts as root and builds without, in namespaces', {
    timeout: 10 * minutes,
  }, async () => {
    await buildImage('root');
    await writeFile(join(folder, 'authorities.pem'), certificate);
    flags = ['--privileged', '--volume', `${folder}/authorities.pem:/certs/cacert.crt:ro`];
    variables = { SSL_CERT_FILE: '/certs/cacert.crt', TLS_CERT_PATH: '/certs/cacert.crt' };
    const { view, log } = await buildWith('root');
    expect(view, `${printed}\n${log}`).toMatchObject({ phase: 'complete' });
    expect(await served('root')).toBe(view.digest);
    expect(printed).toContain('trusting the authorities in /certs/cacert.crt');
    expect(log).not.toContain('Isolation is only chroot');
  });

  test.each<[string, readonly string[], Readonly<Record<string, string>>, RegExp]>([
    ['no certificate', [], { CA_CERT: '$(touch /tmp/x) `id`' }, /CA_CERT holds no certificate/],
    ['a file that is not there', [], { TLS_CERT_PATH: '/certs/none.crt' }, /names a file that is not there/],
    ['another account', ['--user=1234'], {}, /cannot be written to by the account 1234/],
    ['too few ids', ['--uidmap=0:0:65536'], {}, /lacks the ids 100000 to 165535/],
    ['neither server nor token', [], {}, /SERVER is missing.*TOKEN is missing/],
  ])(
    'says what is wrong and ends with 3: %s',
    { timeout: 3 * minutes },
    async (_name, more, environment, message) => {
      printed = '';
      flags = ['--security-opt=seccomp=unconfined', ...more];
      expect(await container('rootless', environment), printed).toBe(3);
      expect(printed).toMatch(message);
      expect(printed).not.toContain('touch');
    },
  );
});
