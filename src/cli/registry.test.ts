import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import {
  registryChange,
  registryCreate,
  registryDelete,
  registryList,
  registryShow,
  registryTest,
} from './registry.ts';
import { repoTarget } from './repo-target.ts';

let api: SlipwayApi;
let memory: MemoryTerminal;
let bodies: string[];

beforeEach(async () => {
  bodies = [];
  api = new SlipwayApi();
  api.onRequest = (request) => {
    let body = '';
    request.on('data', (piece: Buffer) => {
      body += piece;
    });
    request.on('end', () => bodies.push(body));
  };
  await api.start();
  memory = new MemoryTerminal({
    server: api.url,
    token: api.token,
    stdin: Readable.from([Buffer.from('the token\n')]),
  });
});
afterEach(async () => await api.stop());

const quay = {
  name: 'quay',
  host: 'quay.example',
  prefix: 'acme',
  username: 'acme+builder',
  use: ['push', 'pull'],
  insecure: false,
  ca: null,
  created: '2026-01-01T00:00:00.000Z',
  changed: '2026-01-01T00:00:00.000Z',
};
const answer = (body: unknown, status = 200) =>
  api.answerNext({
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });

describe('slipway registry', () => {
  it('adds one with a password that is read and not printed', async () => {
    answer(quay, 201);
    const flags = { host: 'quay.example', prefix: 'acme', username: 'acme+builder', passwordStdin: true };
    expect(await registryCreate(memory.terminal, 'team/quay', flags)).toBe(0);
    expect(api.requests).toEqual(['POST /api/v1/organization/team/registries']);
    expect(JSON.parse(bodies[0] ?? '')).toEqual({
      ...{ name: 'quay', host: 'quay.example', prefix: 'acme', username: 'acme+builder' },
      ...{ password: 'the token', use: ['push', 'pull'], insecure: false },
    });
    expect(memory.printed).toContain('Added team/quay');
    expect(memory.printed).not.toContain('the token');
  });

  it('changes what is given and keeps the rest', async () => {
    answer(quay);
    answer({ ...quay, use: ['pull'] });
    expect(await registryChange(memory.terminal, 'team/quay', { use: ['pull'] })).toBe(0);
    expect(JSON.parse(bodies[1] ?? '')).toEqual({
      ...{ host: 'quay.example', prefix: 'acme', username: 'acme+builder' },
      ...{ use: ['pull'], insecure: false, ca: null },
    });
  });

  it('is not said to be changed when nothing was given, and the server is not asked', async () => {
    const change = registryChange(memory.terminal, 'team/quay', { server: api.url });
    await expect(change).rejects.toMatchObject({ code: 'usage' });
    expect(api.requests).toEqual([]);
    expect(memory.printed).toBe('');
    answer(quay);
    answer(quay);
    expect(await registryChange(memory.terminal, 'team/quay', { insecure: false })).toBe(0);
  });

  it('lists, shows and deletes', async () => {
    answer({ registries: [quay] });
    await registryList(memory.terminal, 'team', {});
    expect(memory.printed).toMatch(/quay +quay\.example\/acme +acme\+builder +push, pull/);
    answer(quay);
    await registryShow(memory.terminal, 'team/quay', {});
    expect(memory.printed).toContain('team/quay');
    answer(null, 204);
    await registryDelete(memory.terminal, 'team/quay', {});
    expect(api.requests.at(-1)).toBe('DELETE /api/v1/organization/team/registries/quay');
  });

  it('ends with 1 when the credentials do not work, made harmless', async () => {
    answer({ ok: false, problem: 'wrong-credentials', message: 'No \u001b[2J entry.' });
    expect(await registryTest(memory.terminal, 'team/quay', {})).toBe(1);
    expect(memory.printed).toContain('wrong-credentials');
    expect(memory.printed).not.toContain('\u001b');
    answer({ ok: true, problem: null, message: null });
    expect(await registryTest(memory.terminal, 'team/quay', {})).toBe(0);
  });

  it.each(['quay', 'a/b/c', '/quay'])('does not take %s for a registry', async (text) => {
    await expect(registryShow(memory.terminal, text, {})).rejects.toMatchObject({ code: 'usage' });
    expect(api.requests).toEqual([]);
  });
});

describe('slipway repo target', () => {
  const target = { registry: 'quay', host: 'quay.example', path: 'acme/web', image: 'quay.example/acme/web' };

  it('shows and sets where a repository is published', async () => {
    answer({ target: null });
    await repoTarget(memory.terminal, 'team/web', {});
    expect(memory.printed).toContain('team/web publishes to the embedded registry');
    answer(target);
    await repoTarget(memory.terminal, 'team/web', { registry: 'quay', path: 'web' });
    expect(JSON.parse(bodies[1] ?? '')).toEqual({ registry: 'quay', path: 'web' });
    expect(memory.printed).toContain('team/web publishes to quay.example/acme/web (registry quay)');
    answer(null, 204);
    answer({ target: null });
    await repoTarget(memory.terminal, 'team/web', { embedded: true });
    expect(api.requests.slice(-2)).toEqual([
      'DELETE /api/v1/repository/team/web/target',
      'GET /api/v1/repository/team/web',
    ]);
  });

  it('wants one thing at a time', async () => {
    for (const flags of [{ path: 'a' }, { registry: 'quay', embedded: true }])
      await expect(repoTarget(memory.terminal, 'team/web', flags)).rejects.toMatchObject({ code: 'usage' });
  });
});
