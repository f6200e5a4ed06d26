import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryFront } from '../fakes/registry-front.ts';
import { ownCertificate } from '../harness/own-certificate.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { type RegistryService, startRegistry } from '../services/docker-registry.ts';
import { askForBuild, dockerfile, type FaultBuild, ticking, untilNothingLeft } from './fault-build.ts';

/** Registries that are not ours: a server killed while it publishes to one, and base images from one. */
const run = promisify(execFile);
const password = 'pull-9f3b5c7d1e';
const users = { ann: password };
let folder: string;
let server: SlipwayServer;
let plain: RegistryService;
let secure: RegistryService;
let front: RegistryFront;
let authority: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-registries-'));
  const tls = await ownCertificate(folder);
  authority = tls.pem;
  [server, plain, secure] = await Promise.all([
    SlipwayServer.start(['--retry-delay', '0', '--allow-private', '127.0.0.1']),
    startRegistry({ users }),
    startRegistry({ users, tls }),
  ]);
  front = await RegistryFront.open(plain.host);
  const common = { username: 'ann', password };
  await addRegistry({ ...common, name: 'plain', host: front.host, use: ['push', 'pull'], insecure: true });
  await addRegistry({ ...common, name: 'secure', host: secure.host, use: ['pull'], ca: tls.pem });
});
afterAll(async () => {
  await server?.dispose();
  await front?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const registries = '/api/v1/organization/admin/registries';

async function ask(method: string, path: string, body?: unknown): Promise<void> {
  const response = await server.fetch(path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
}

async function addRegistry(body: Readonly<Record<string, unknown>>): Promise<void> {
  await ask('POST', registries, body);
}

async function publishTo(build: FaultBuild, registry: string): Promise<void> {
  await ask('PUT', `/api/v1/repository/${build.repository}/target`, { registry });
}

async function digestOf(host: string, image: string): Promise<string> {
  const { stdout } = await run('skopeo', [
    ...['inspect', '--format', '{{.Digest}}', '--tls-verify=false', '--creds', `ann:${password}`],
    `docker://${host}/${image}`,
  ]);
  return stdout.trim();
}

const large = '/busybox dd if=/dev/urandom of=/big bs=1M count=24 2>/dev/null';

test('a server that is killed in the middle of a copy goes on with it in its next life', async () => {
  const build = await askForBuild(server, dockerfile(ticking(60, 50), large));
  await publishTo(build, 'plain');
  front.seen.length = 0;
  let hanging = 0;
  let blobs = 0;
  // The config is sent, the layers get stuck.
  front.meddle = ({ method, url }) => {
    if (method !== 'PUT' || url?.includes('/blobs/') !== true) return undefined;
    blobs += 1;
    if (blobs === 1) return undefined;
    hanging += 1;
    return 'hang';
  };
  await until('the copy to be under way', async () => hanging > 0);
  expect((await build.view()).phase).toBe('pushing');
  await server.kill('SIGKILL');
  front.meddle = () => undefined;
  await server.start();
  const view = await build.ends();
  expect(view, view.error ?? '').toMatchObject({
    phase: 'complete',
    attempts: [{ outcome: 'complete' }],
    image_references: [`${front.host}/${build.name}:latest`],
  });
  expect(await digestOf(front.host, `${build.name}:latest`)).toBe(view.digest);
  const sent = front.seen.filter((line) => /^PUT .*\/blobs\/uploads\/.* 201$/.test(line));
  // Each blob once: what had arrived before was not sent again.
  expect(new Set(sent.map((line) => /digest=(\S+)/.exec(line)?.[1])).size).toBe(sent.length);
  expect(front.seen.filter((line) => /^PUT .*\/manifests\/latest 201$/.test(line))).toHaveLength(1);
  await untilNothingLeft(server.data);
});

test('a base image of a private registry is pulled with the credentials of the namespace', async () => {
  const base = await askForBuild(server, dockerfile('true'));
  expect(await base.ends()).toMatchObject({ phase: 'complete' });
  for (const host of [front.host, secure.host])
    await run('skopeo', [
      ...['copy', '--src-tls-verify=false', '--src-creds', `$oauthtoken:${server.token}`],
      ...['--dest-tls-verify=false', '--dest-creds', `ann:${password}`],
      ...[`docker://${server.host}/${base.repository}:latest`, `docker://${host}/private/base:1`],
    ]);
  for (const host of [front.host, secure.host]) {
    // Even one who knows the password does not get it into the log, and no argument has it.
    const step = `echo it is ${password}; ${ticking(40, 50)}`;
    const build = await askForBuild(server, fromBase(host, step));
    await build.says(/^tick /);
    expect(await commandsWith(password)).toEqual([]);
    const view = await build.ends();
    expect(view, view.error ?? '').toMatchObject({ phase: 'complete' });
    expect(JSON.stringify(await build.log())).not.toContain(password);
  }
});

test('credentials for what lies below a prefix are for nothing else', async () => {
  const settings = { host: secure.host, username: 'ann', use: ['pull'], ca: authority };
  await ask('PUT', `${registries}/secure`, { ...settings, prefix: 'private' });
  const inside = await (await askForBuild(server, fromBase(secure.host, 'true'))).ends();
  expect(inside, inside.error ?? '').toMatchObject({ phase: 'complete' });
  await ask('PUT', `${registries}/secure`, { ...settings, prefix: 'elsewhere' });
  const outside = await (await askForBuild(server, fromBase(secure.host, 'true'))).ends();
  expect(outside).toMatchObject({ phase: 'error', error_code: 'cannotpullbaseimage' });
  expect(outside.error).toContain(`${secure.host}/private/base:1`);
});

function fromBase(host: string, step: string): string {
  return dockerfile(step)
    .replace('FROM scratch', `FROM ${host}/private/base:1`)
    .replace('COPY busybox /busybox\n', '');
}

/** Command lines of processes that show a text. */
async function commandsWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    // The step itself says it: that is the user's own doing.
    if (line.includes(text) && !line.includes('it is')) found.push(line);
  }
  return found;
}
