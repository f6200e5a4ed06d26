import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Digest } from '../../src/model/digest.ts';
import type { Tag } from '../../src/model/tag.ts';
import { OciClient } from '../../src/registry/oci-client.ts';
import { RegistryFront } from '../fakes/registry-front.ts';
import { RegistryServer } from '../fakes/registry-server.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';
import { type RegistryService, startRegistry } from '../services/docker-registry.ts';

/** Builds of a whole server whose repositories publish to registries that are not ours. */
const { signal } = new AbortController();
const users = { ann: 'right' };
let server: WholeServer;
let basic: RegistryService;
let front: RegistryFront;
let byToken: RegistryServer;
let made = 0;

beforeAll(async () => {
  [server, basic, byToken] = await Promise.all([
    startWholeServer({
      allowPrivate: ['127.0.0.0/8'],
      settings: { targetTries: 1_000, publishBackOff: 50, publishBackOffCap: 100 },
    }),
    startRegistry({ users }),
    RegistryServer.start(),
  ]);
  front = await RegistryFront.open(basic.host);
  byToken.authorizer.passwords.set('ann', 'right');
  for (const repository of ['team/slipway-check', 'team/by-token'])
    byToken.authorizer.allow('ann', repository, ['pull', 'push']);
  await addRegistry('basic', front.host);
  await addRegistry('tokens', byToken.host);
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await front?.[Symbol.asyncDispose]();
  await basic?.[Symbol.asyncDispose]();
  await byToken?.stop();
});
beforeEach(async () => {
  front.meddle = () => undefined;
  front.seen.length = 0;
});

const registries = '/api/v1/organization/kim/registries';

async function addRegistry(name: string, host: string): Promise<void> {
  const answer = await server.call('POST', registries, {
    ...{ name, host, prefix: 'team', username: 'ann', password: 'right', use: ['push'], insecure: true },
  });
  expect(answer, answer.text).toMatchObject({ status: 201 });
  expect(answer.text).not.toContain('right');
}

/** A repository that publishes to a registry, under its own name there. */
async function repositoryFor(registry: string, name = `app-${++made}`): Promise<string> {
  await server.call('POST', '/api/v1/repository', { repository: name });
  const answer = await server.call('PUT', `/api/v1/repository/kim/${name}/target`, { registry });
  expect(answer, answer.text).toMatchObject({ status: 200 });
  return name;
}

function clientOf(host: string): OciClient {
  return new OciClient({
    endpoint: { kind: 'network', host, security: 'http' },
    credentials: { kind: 'password', username: 'ann', password: 'right' },
    clock: systemClock,
  });
}

async function served(host: string, path: string): Promise<Record<string, string | undefined>> {
  const client = clientOf(host);
  const tags = await client.listTags(path, signal);
  const digests = await Promise.all(
    tags.sort().map(async (tag) => [tag, (await client.headManifest(path, tag, signal))?.digest] as const),
  );
  client.close();
  return Object.fromEntries(digests);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('a build ends in the registry of its repository', () => {
  test.each([
    ['basic', () => front.host, 'by-basic'],
    ['tokens', () => byToken.host, 'by-token'],
  ] as const)('with credentials of the kind %s', async (registry, host, name) => {
    await repositoryFor(registry, name);
    const view = await server.build(name, [], { docker_tags: ['1.0', 'latest'] });
    const path = `team/${name}`;
    expect(view, String(view.error)).toMatchObject({
      phase: 'complete',
      image_references: [`${host()}/${path}:1.0`, `${host()}/${path}:latest`],
    });
    expect(await served(host(), path)).toEqual({ '1.0': view.digest, latest: view.digest });
    // What it is there is, byte for byte, what was built; and ours has no tag.
    const client = clientOf(host());
    const theirs = await client.getManifest(path, 'latest' as Tag, signal);
    client.close();
    const ours = await server.registry.client.getManifest(`kim/${name}`, view.digest as Digest, signal);
    expect(theirs.bytes.equals(ours.bytes)).toBe(true);
    expect(await server.registry.client.listTags(`kim/${name}`, signal)).toEqual([]);
    expect((await server.call('GET', `/api/v1/repository/kim/${name}`)).json).toMatchObject({
      image: `${host()}/${path}`,
      target: { registry, path },
    });
  });

  test('and what a sibling has there already is not sent again', async () => {
    const first = await repositoryFor('basic');
    await server.build(first, []);
    const second = await repositoryFor('basic');
    front.seen.length = 0;
    const view = await server.build(second, []);
    expect(view).toMatchObject({ phase: 'complete' });
    const mounts = front.seen.filter((line) => /POST .*mount=sha256.* 201$/.test(line));
    const sent = front.seen.filter((line) => /^PUT .*\/blobs\/uploads\//.test(line));
    // Its config and its one layer.
    expect({ mounts: mounts.length, sent: sent.length }).toEqual({ mounts: 2, sent: 0 });
    front.seen.length = 0;
    await server.build(second, []);
    expect(front.seen.filter((line) => line.startsWith('POST '))).toEqual([]);
  });

  test('or in ours again, once the target is taken away', async () => {
    const name = await repositoryFor('basic');
    const path = `/api/v1/repository/kim/${name}/target`;
    expect((await server.call('GET', path)).status).toBe(200);
    expect((await server.call('DELETE', path)).status).toBe(204);
    expect((await server.call('GET', path)).status).toBe(404);
    const view = await server.build(name, []);
    expect(view).toMatchObject({ phase: 'complete', image_references: [] });
    expect(await server.registry.client.listTags(`kim/${name}`, signal)).toEqual(['latest']);
  });
});

describe('while the registry is away', () => {
  test('the build waits, and is published once when it is back', async () => {
    const name = await repositoryFor('basic');
    await basic.end();
    let path = '';
    const building = server.build(name, [], { onAsked: (asked) => (path = asked) });
    const failures = () => server.logged.filter((line) => line.includes('it is tried again')).length;
    const before = failures();
    await until(() => failures() >= before + 2);
    expect((await server.call('GET', path)).json).toMatchObject({ phase: 'pushing' });
    await basic.start();
    const view = await building;
    expect(view, String(view.error)).toMatchObject({ phase: 'complete' });
    expect(await served(front.host, `team/${name}`)).toEqual({ latest: view.digest });
    const tagged = front.seen.filter((line) => line === `PUT /v2/team/${name}/manifests/latest 201`);
    expect(tagged).toHaveLength(1);
  });

  test('a cancel ends it', async () => {
    const name = await repositoryFor('basic');
    front.meddle = () => ({ status: 503 });
    let path = '';
    const building = server.build(name, [], { onAsked: (asked) => (path = asked) });
    await until(() => front.seen.some((line) => line.startsWith('HEAD') && line.endsWith(' 503')));
    expect((await server.call('DELETE', path)).status).toBe(201);
    expect(await building).toMatchObject({ phase: 'cancelled' });
    front.meddle = () => undefined;
    expect(await served(front.host, `team/${name}`)).toEqual({});
  });

  test('a faulty answer and one that asks for time are waited out', async () => {
    const name = await repositoryFor('basic');
    const answers = [500, 429, 502];
    front.meddle = ({ method }) => {
      const status = method === 'PUT' ? answers.shift() : undefined;
      return status === undefined ? undefined : { status };
    };
    expect(await server.build(name, [])).toMatchObject({ phase: 'complete' });
    expect(answers).toEqual([]);
  });
});

describe("a registry's refusal ends the build at once, as the user's fault", () => {
  test('when the password is not the right one any more', async () => {
    const name = await repositoryFor('basic');
    await basic.setUsers({ ann: 'changed' });
    const view = await server.build(name, []);
    await basic.setUsers(users);
    expect(view).toMatchObject({ phase: 'error', error_code: 'registryrefused' });
    expect(view.error).toContain(`The registry "basic" (${front.host}) refused the image for team/${name}`);
    expect(view.error).toContain('check its credentials with: slipway registry test kim/basic');
    expect(await served(front.host, `team/${name}`)).toEqual({});
  });

  test('and says which tags stand for the new image already', async () => {
    const name = await repositoryFor('basic');
    front.meddle = ({ method, url }) =>
      method === 'PUT' && url?.endsWith('/manifests/b') === true ? { status: 403 } : undefined;
    const view = await server.build(name, [], { docker_tags: ['a', 'b', 'c'] });
    expect(view).toMatchObject({ phase: 'error', error_code: 'registryrefused', image_references: [] });
    expect(view.error).toContain('The tag a stands for the new image already, b, c not.');
    expect(Object.keys(await served(front.host, `team/${name}`))).toEqual(['a']);
  });
});

describe('what is asked for is checked', () => {
  test('a registry that is a target stays, and says whose', async () => {
    const name = await repositoryFor('basic');
    const answer = await server.call('DELETE', `${registries}/basic`);
    expect(answer.status).toBe(409);
    expect(answer.text).toContain(`kim/${name}`);
  });

  test('wrong credentials are refused, with words, and nothing is kept', async () => {
    const body = { host: front.host, username: 'ann', password: 'mistaken', use: ['push'], insecure: true };
    const answer = await server.call('POST', registries, { name: 'wrong', ...body });
    expect(answer.status).toBe(400);
    expect(answer.json.detail).toContain('does not accept the user name "ann"');
    expect(answer.text).not.toContain('mistaken');
    expect((await server.call('GET', `${registries}/wrong`)).status).toBe(404);
    const change = await server.call('PUT', `${registries}/basic`, body);
    expect(change.status).toBe(400);
    expect((await server.call('POST', `${registries}/basic/test`)).json).toMatchObject({ ok: true });
    expect(server.logged.join('\n')).not.toContain('mistaken');
  });

  test('the stored password goes nowhere else without being given again', async () => {
    const body = { host: byToken.host, prefix: 'team', username: 'ann', use: ['push'], insecure: true };
    const answer = await server.call('PUT', `${registries}/basic`, body);
    expect(answer.status).toBe(400);
    expect(answer.json.detail).toContain('give the password as well');
    const same = await server.call('PUT', `${registries}/basic`, { ...body, host: front.host });
    expect(same.status).toBe(200);
  });

  test('our own registry needs no entry', async () => {
    const body = { name: 'own', host: server.host, username: 'a', password: 'b', use: ['push'] };
    expect((await server.call('POST', registries, body)).status).toBe(400);
  });

  test('a path that may not be pushed to is refused as a target', async () => {
    await server.call('POST', '/api/v1/repository', { repository: 'elsewhere' });
    const answer = await server.call('PUT', '/api/v1/repository/kim/elsewhere/target', {
      registry: 'tokens',
      path: 'not-mine',
    });
    expect(answer.status).toBe(400);
    expect(answer.json.detail).toContain('does not let it push to team/not-mine');
  });
});
