import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packFolder } from '../harness/build-client.ts';
import { type OwnCertificate, ownCertificate } from '../harness/own-certificate.ts';
import { RemoteBuild, RemoteUser, ServeProcess } from '../harness/serve-process.ts';
import { processesWith, until } from '../harness/slipway-server.ts';
import { WorkerImages } from '../harness/worker-images.ts';
import { freePort } from '../services/service.ts';
import type { KubernetesObject } from './api-client.ts';
import { findBinaries } from './binaries.ts';
import { busyboxImage } from './busybox-image.ts';
import { manual, namespace, patiently } from './cluster.ts';
import { ControlPlane } from './control-plane.ts';
import { RealNode } from './real-node.ts';

const run = promisify(execFile);
const project = resolve(import.meta.dirname, '../..');
const image = 'localhost/slipway/worker:test';
const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
const pods = `/api/v1/namespaces/${namespace}/pods`;
const secrets = `/api/v1/namespaces/${namespace}/secrets`;
const minutes = 60_000;

/**
 * Everything is real: a control plane set up by the files of the documentation, a kubelet with containerd, the image of the
 * worker as Slipway builds it, `slipway serve` with the executor in its configuration, the pod, and the registry. All of it
 * is TLS with a certificate of the server's own, which the pod trusts by CA_CERT and nothing else does.
 */
describe.skipIf('missing' in findBinaries() || process.getuid?.() !== 0)('a whole build in a pod', () => {
  let folder: string;
  let plane: ControlPlane;
  let node: RealNode;
  let server: ServeProcess;
  let user: RemoteUser;
  let watched: RemoteUser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-pod-'));
    const archive = await workerArchive(folder);
    plane = await ControlPlane.start();
    await plane.admin.apply(
      manual('namespace.yaml', 'service-accounts.yaml', 'role.yaml', 'role-binding.yaml', 'token.yaml'),
    );
    // Any image that can do nothing for ever holds the pod's namespaces; this node has no other one.
    node = await RealNode.join(plane, { pause: await busyboxImage(folder) });
    await node.importImage(archive);
    const port = await freePort();
    const host = await node.expose(port);
    const tls = await ownCertificate(folder, 'server', [new URL(`https://${host}`).hostname]);
    // Whom the clients of this test trust is not what it is about.
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    server = await ServeProcess.start({
      config: await configuration(host, port, tls),
      environment: { NODE_TLS_REJECT_UNAUTHORIZED: '1' },
    });
    const password = server.createUser('kim');
    user = await RemoteUser.withPassword(`https://${host}`, 'kim', password).withToken();
    const another = server.createUser('lee');
    watched = await RemoteUser.withPassword(`https://${host}`, 'lee', another).withToken();
  }, 20 * minutes);

  afterAll(async () => {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    await server?.[Symbol.asyncDispose]();
    await node?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  }, 3 * minutes);

  async function configuration(host: string, port: number, tls: OwnCertificate) {
    const token = await patiently(async () => {
      const secret = await plane.admin.get(`${secrets}/slipway-token`);
      return Buffer.from((secret.data as { readonly token: string }).token, 'base64').toString();
    });
    await writeFile(join(folder, 'token'), token);
    const executor = {
      EXECUTOR: 'kubernetesPodman',
      K8S_API_SERVER: plane.host,
      K8S_API_TLS_CA: plane.authority.file,
      SERVICE_ACCOUNT_TOKEN_FILE: join(folder, 'token'),
      BUILDER_NAMESPACE: namespace,
      BUILDER_CONTAINER_IMAGE: image,
      IMAGE_PULL_POLICY: 'Never',
      CA_CERT: tls.pem,
      CONTAINER_MEMORY_REQUEST: '1Gi',
      CONTAINER_MEMORY_LIMITS: '3Gi',
      CONTAINER_CPU_LIMITS: '2000m',
    };
    return {
      SERVER_HOSTNAME: host,
      PREFERRED_URL_SCHEME: 'https',
      DB_URI: `sqlite:///${join(folder, 'slipway.db')}`,
      DATABASE_SECRET_KEY: randomBytes(32).toString('hex'),
      SUPER_USERS: ['kim'],
      BUILD_MANAGER: [
        'ephemeral',
        {
          ALLOWED_WORKER_COUNT: 3,
          EXECUTORS: [
            { ...executor, NAME: 'debugged', DEBUG: true, NAMESPACE_WHITELIST: ['lee'] },
            { ...executor, NAME: 'cluster' },
          ],
        },
      ],
      SLIPWAY: {
        LISTEN: { ADDRESS: '127.0.0.1', PORT: port, ONE_PORT: true },
        TLS: { CERTIFICATE: tls.certificate, KEY: tls.key },
        RETRY_DELAY: 0,
      },
    };
  }

  /** Asks for an image of a busybox, and of what a shell command makes of it. */
  async function ask(repository: string, command: string, user: RemoteUser): Promise<RemoteBuild> {
    const source = join(folder, repository);
    await mkdir(source);
    await copyFile('/bin/busybox', join(source, 'busybox'));
    const step = JSON.stringify(['/bin/busybox', 'sh', '-c', command]);
    await writeFile(
      join(source, 'Dockerfile'),
      `FROM scratch\nCOPY busybox /bin/busybox\nRUN ${step}\nENTRYPOINT ["/bin/busybox"]\n`,
    );
    const mimeType = await packFolder(source, 'tar.gz', `${source}.tar.gz`);
    const drop = await user.json<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', { mimeType });
    const put = await fetch(new URL(drop.url, user.url), {
      method: 'PUT',
      body: await readFile(`${source}.tar.gz`),
      headers: { 'content-type': mimeType },
    });
    expect(put.status, await put.text()).toBeLessThan(300);
    await user.json('POST', '/api/v1/repository', {
      ...{ namespace: user.username, repository, visibility: 'private', description: '' },
    });
    const path = `/api/v1/repository/${user.username}/${repository}/build/`;
    const { id } = await user.json<{ id: string }>('POST', path, {
      file_id: drop.file_id,
      docker_tags: ['made'],
    });
    return new RemoteBuild(user, `${path}${id}`, id);
  }

  /** The image as its registry serves it to a client: its digest, and what is in a file of it. */
  async function pulled(repository: string, file: string): Promise<{ digest: string; text: string }> {
    const { authorization } = user;
    const reference = `docker://${new URL(user.url).host}/kim/${repository}:made`;
    const credentials = `$oauthtoken:${authorization.replace('Bearer ', '')}`;
    const { stdout } = await run('skopeo', [
      ...['inspect', '--format', '{{.Digest}}', '--tls-verify=false', '--creds', credentials, reference],
    ]);
    const layout = join(folder, `pulled-${repository}`);
    const from = ['--src-tls-verify=false', '--src-creds', credentials, reference];
    await run('skopeo', ['copy', '--quiet', ...from, `dir:${layout}`]);
    let text = '';
    for (const name of await readdir(layout))
      if (/^[0-9a-f]{64}$/.test(name))
        text += await run('tar', ['-xOf', join(layout, name), file]).then(
          (made) => made.stdout,
          () => '',
        );
    return { digest: stdout.trim(), text };
  }

  /** The pod of the only worker there is. */
  async function podOfWorker(): Promise<KubernetesObject> {
    const found = await plane.admin.list(`${pods}?labelSelector=slipway-attempt`);
    expect(found.map(({ metadata }) => metadata.name)).toHaveLength(1);
    return found[0] as KubernetesObject;
  }

  /** By the control group, which has the pod's id: other tests on this machine may have workers, too. */
  async function workersIn({ metadata: { uid } }: KubernetesObject): Promise<number[]> {
    const found: number[] = [];
    for (const { pid, command } of await processesWith('/opt/slipway/')) {
      const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
      if (/\bworker\b/.test(command) && groups.includes(`${uid}`)) found.push(pid);
    }
    return found;
  }

  async function workersOf(pod: KubernetesObject): Promise<number[]> {
    return await until('the worker in its pod', async () => {
      const found = await workersIn(pod);
      return found.length > 0 && found;
    });
  }

  async function nothingLeft(): Promise<void> {
    await patiently(async () => {
      const labelled = '?labelSelector=slipway-attempt';
      const lists = await Promise.all([jobs, pods, secrets].map((path) => plane.admin.list(path + labelled)));
      const left = lists.flat().map(({ metadata }) => metadata.name);
      if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
    });
  }

  /** For when something fails: what the cluster says. */
  async function story(build: RemoteBuild): Promise<string> {
    const view = await build.view();
    const log = (await build.log()).map(({ message }) => message);
    return `${JSON.stringify(view.attempts, undefined, 1)}\n${log.join('\n')}`;
  }

  test('from the Job to the image in the registry', { timeout: 5 * minutes }, async () => {
    const command =
      'echo "it is user $(/bin/busybox id -u)"; /bin/busybox sleep 5; echo made in a pod > /made';
    const build = await ask('plain', command, user);
    await build.says(/^it is user/);
    const [job] = await plane.admin.list(`${jobs}?labelSelector=build=${build.id}`);
    expect(job, await story(build)).toMatchObject({ spec: { suspend: false }, status: { active: 1 } });
    const pod = await podOfWorker();
    expect(pod).toMatchObject({
      spec: { nodeName: node.name, automountServiceAccountToken: false },
      status: { phase: 'Running' },
    });
    for (const pid of await workersOf(pod)) {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m);
      // It has no capability, and of all there are, a program may give it SETUID and SETGID alone.
      expect(status).toMatch(/^CapEff:\t0{16}$/m);
      expect(status).toMatch(/^CapBnd:\t0{14}c0$/m);
    }
    const view = await build.ends();
    expect(view, await story(build)).toMatchObject({
      phase: 'complete',
      attempts: [{ epoch: 1, outcome: 'complete', executor: 'cluster' }],
    });
    const log = (await build.log()).map(({ message }) => message);
    expect(log).toContain('it is user 0');
    expect(await pulled('plain', 'made')).toEqual({ digest: view.digest, text: 'made in a pod\n' });
    await nothingLeft();
  });

  test.each<[string, (pod: KubernetesObject) => Promise<void>, RegExp]>([
    [
      'worker is killed',
      async (pod) => {
        for (const pid of await workersOf(pod)) process.kill(pid, 'SIGKILL');
      },
      /status 137|signal 9|SIGKILL/,
    ],
    [
      'pod is deleted',
      async ({ metadata }) => await plane.admin.delete(`${pods}/${metadata.name}`),
      /deleted by somebody else/,
    ],
  ])(
    'whose %s is built by another pod, and says what happened',
    {
      timeout: 5 * minutes,
    },
    async (what, deed, reason) => {
      const repository = what.replaceAll(' ', '-');
      const build = await ask(repository, 'echo begun; /bin/busybox sleep 5; echo made again > /made', user);
      await build.says(/^begun$/);
      await deed(await podOfWorker());
      const view = await build.ends();
      expect(view, await story(build)).toMatchObject({
        phase: 'complete',
        attempts: [
          { epoch: 1, outcome: 'internal-error', error_code: 'workerlost' },
          { epoch: 2, outcome: 'complete' },
        ],
      });
      expect(view.attempts[0]).toHaveProperty('error', expect.stringMatching(reason));
      expect(await pulled(repository, 'made')).toEqual({ digest: view.digest, text: 'made again\n' });
      await nothingLeft();
    },
  );

  test('and what the server needs for it is found by the doctor', async () => {
    const { stdout } = await run(process.execPath, [
      ...['--disable-warning=ExperimentalWarning', join(project, 'src/bin/slipway.ts')],
      ...['doctor', '--config', server.configFile],
    ]).catch((thrown: { readonly stdout: string }) => thrown);
    expect(stdout).toMatch(/executor cluster.*reachable, allowed/);
  });

  test('shows the token of its account nowhere', async () => {
    const token = await readFile(join(folder, 'token'), 'utf8');
    expect(token.length).toBeGreaterThan(100);
    const shown = [
      await server.output(),
      await server.log(),
      await (await user.fetch('/api/v1/superuser/executors')).text(),
      await (await user.fetch('/api/v1/superuser/audit')).text(),
    ];
    for (const text of shown) expect(text).not.toContain(token);
    expect(shown.join('')).toContain('cluster');
  });

  test('of a worker on trial passes every step', { timeout: 3 * minutes }, async () => {
    const response = await user.fetch('/api/v1/superuser/executors/cluster/test', { method: 'POST' });
    const text = await response.text();
    const steps = [...text.matchAll(/"step":"([a-z-]+)"/g)].map(([, step]) => step);
    expect(steps, text).toEqual([
      ...['reachable', 'allowed', 'started', 'scheduled', 'image-pulled', 'registered', 'stopped'],
    ]);
    expect(text).not.toContain('failed');
    await nothingLeft();
  });

  test('leaves pod and log to look into with DEBUG', { timeout: 5 * minutes }, async () => {
    const build = await ask('kept', 'echo made to be looked into', watched);
    const view = await build.ends();
    expect(view, await story(build)).toMatchObject({
      phase: 'complete',
      attempts: [{ epoch: 1, outcome: 'complete', executor: 'debugged' }],
    });
    const { metadata } = await podOfWorker();
    const pod = await patiently(async () => {
      const found = await plane.admin.get(`${pods}/${metadata.name}`);
      if (found.status.phase === 'Running') throw new Error('the worker has not ended yet');
      return found;
    });
    expect(pod.status.phase).toBe('Succeeded');
    expect(pod.metadata.deletionTimestamp).toBeUndefined();
    expect(await plane.admin.text('GET', `${pods}/${metadata.name}/log`)).not.toBe('');
    const [job] = await plane.admin.list(`${jobs}?labelSelector=build=${build.id}`);
    expect(job?.spec.ttlSecondsAfterFinished).toBeUndefined();
    await plane.admin.delete(`${jobs}/${job?.metadata.name}`, { propagationPolicy: 'Background' });
    await nothingLeft();
  });
});

/** The image of the worker, built by a Slipway, as an archive that a node takes. */
async function workerArchive(folder: string): Promise<string> {
  await using images = await WorkerImages.start(join(folder, 'images'));
  const archive = join(folder, 'worker.tar');
  const reference = await images.build('rootless');
  const login = ['--src-tls-verify=false', '--src-creds', images.credentials];
  await run('skopeo', [
    'copy',
    '--quiet',
    ...login,
    `docker://${reference}`,
    `docker-archive:${archive}:${image}`,
  ]);
  return archive;
}
