import { type Client, credentials } from '@grpc/grpc-js';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildRequest } from '../../src/model/build.ts';
import { formatRepositoryName } from '../../src/model/repository-name.ts';
import { BuildManagerClient } from '../../src/rpc/generated/buildman.ts';
import { pushBlobs } from './image.ts';
import { openRig, type Rig, type StartedAttempt } from './rig.ts';
import { SharedClient } from './shared-client.ts';

/** Whatever a worker asks the token service and the registry for, it gets what its build may do. */

const signal = AbortSignal.timeout(300_000);
let rig: Rig;
let shared: SharedClient;
let own: BuildManagerClient;

beforeAll(async () => {
  rig = await openRig();
  shared = new SharedClient(rig.host);
  own = new BuildManagerClient(rig.host, credentials.createInsecure());
});
afterAll(async () => {
  (own as Client | undefined)?.close();
  shared?.[Symbol.dispose]();
  await rig?.[Symbol.asyncDispose]();
});

interface Passwords {
  readonly pull: string;
  readonly push: string;
}

async function registerShared({ token }: StartedAttempt): Promise<Passwords> {
  const answer = await shared.register(token);
  if (answer.kind !== 'reply') throw new Error(answer.details);
  return { pull: String(answer.reply.pull_token), push: String(answer.reply.push_token) };
}

async function registerOwn({ token }: StartedAttempt): Promise<Passwords> {
  const engine = { version: 'test', engine: 'dummy', platform: 'linux/amd64' };
  const capabilities = { ...engine, logBatches: true, pushesByDigest: true };
  return await new Promise((resolve, reject) => {
    own.registerBuildJob({ registerJwt: token, capabilities }, (error, pack) =>
      error === null ? resolve({ pull: pack.pullToken, push: pack.pushToken }) : reject(error),
    );
  });
}

/** What the token is good for that the token service gives for a password, asked for everything. */
async function scopeOf(password: string, repository: string): Promise<readonly string[]> {
  const scope = encodeURIComponent(`repository:${repository}:pull,push,delete`);
  const answer = await fetch(`${rig.url}/v2/auth?service=slipway-registry&scope=${scope}`, {
    headers: { authorization: `Basic ${Buffer.from(`$token:${password}`).toString('base64')}` },
  });
  expect(answer.status).toBe(200);
  const { token } = (await answer.json()) as { readonly token: string };
  const access = decodeJwt(token).access as readonly { readonly actions: readonly string[] }[];
  return access.flatMap(({ actions }) => actions);
}

test.each<
  [string, Partial<BuildRequest>, (attempt: StartedAttempt) => Promise<Passwords>, Passwords | undefined]
>([
  ['that is pushed', { push: true }, registerOwn, undefined],
  ['that is not pushed', { push: false }, registerOwn, { pull: 'pull', push: 'pull' }],
  [
    'that is not pushed, by a worker of the shared protocol,',
    { push: false },
    registerShared,
    { pull: 'pull', push: 'pull' },
  ],
  [
    'of a person that is not pushed',
    { push: false, manualUser: 'kim' },
    registerOwn,
    { pull: 'pull', push: 'pull' },
  ],
  ['of a fork', { push: false, untrusted: true }, registerOwn, { pull: '', push: '' }],
])('a build %s has no more rights than that', async (_which, request, register, rights) => {
  const build = await rig.enqueue(request);
  const repository = formatRepositoryName(build.repository);
  const passwords = await register(await rig.started(build));
  const given = {
    pull: (await scopeOf(passwords.pull, repository)).join(),
    push: (await scopeOf(passwords.push, repository)).join(),
  };
  expect(given).toEqual(rights ?? { pull: 'pull', push: 'pull,push' });
  const client = rig.registryClient(passwords.push);
  try {
    const pushing = pushBlobs(client, repository, signal);
    if (rights === undefined) await pushing;
    else await expect(pushing).rejects.toMatchObject({ name: 'RegistryError', code: 'unauthorized' });
  } finally {
    client.close();
  }
  await rig.queue.cancel(build.id, 'test');
  await rig.final(build);
});
