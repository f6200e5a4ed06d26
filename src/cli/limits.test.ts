import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { limitsNamespace } from './limits-namespace.ts';
import { limitsRepo } from './limits-repo.ts';

let server: ApiHarness;
let root: string;
let kim: string;

beforeEach(async () => {
  server = await startApiServer();
  root = await server.addUser('root', { superuser: true });
  kim = await server.addUser('kim');
  await server.addRepository('kim/web');
});
afterEach(async () => await server[Symbol.asyncDispose]());

const terminal = (token: string) => new MemoryTerminal({ server: server.url, token });

describe('slipway limits namespace', () => {
  it('shows, sets what is given, and keeps the rest', async () => {
    const shown = terminal(root);
    await limitsNamespace(shown.terminal, 'kim', {});
    expect(shown.printed).toBe('kim: weight 1, any number of builds at once\n');
    const set = terminal(root);
    await limitsNamespace(set.terminal, 'kim', { maxRunning: 4 });
    expect(set.printed).toBe('kim: weight 1, 4 builds at once\n');
    await limitsNamespace(terminal(root).terminal, 'kim', { weight: 2.5 });
    const json = terminal(root);
    await limitsNamespace(json.terminal, 'kim', { json: true });
    expect(JSON.parse(json.printed)).toEqual({ weight: 2.5, max_running: 4 });
    const lifted = terminal(root);
    await limitsNamespace(lifted.terminal, 'kim', { maxRunning: 'none' });
    expect(lifted.printed).toBe('kim: weight 2.5, any number of builds at once\n');
  });

  it('is for superusers', async () => {
    await expect(limitsNamespace(terminal(kim).terminal, 'kim', { weight: 2 })).rejects.toMatchObject({
      status: 403,
    });
  });
});

describe('slipway limits repo', () => {
  it('shows and sets', async () => {
    const shown = terminal(kim);
    await limitsRepo(shown.terminal, 'kim/web', {});
    expect(shown.printed).toBe('kim/web: 1 build at once\n');
    const set = terminal(kim);
    await limitsRepo(set.terminal, 'kim/web', { concurrency: 3, json: true });
    expect(JSON.parse(set.printed)).toEqual({ concurrency: 3 });
  });

  it('wants the name of a repository', async () => {
    await expect(limitsRepo(terminal(kim).terminal, 'web', {})).rejects.toMatchObject({ code: 'usage' });
  });
});
