import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import type { FakeBuild } from '../../test/fakes/slipway-build.ts';
import { builds } from './builds.ts';
import { cancel } from './cancel.ts';
import { login } from './login.ts';
import { logs } from './logs.ts';
import { readProfile } from './profile.ts';
import { repoCreate } from './repo-create.ts';
import { show } from './show.ts';
import type { Terminal } from './terminal.ts';

let api: SlipwayApi;
let build: FakeBuild;
let memory: MemoryTerminal;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  build = api.addBuild();
  memory = terminal();
});
afterEach(async () => await api.stop());

function terminal(fields: Partial<Terminal> = {}): MemoryTerminal {
  return new MemoryTerminal({ server: api.url, token: api.token, ...fields });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('slipway builds', () => {
  it('lists the newest first, of all repositories or of one', async () => {
    const other = api.addBuild({ namespace: 'team', name: 'api/v2' });
    other.change({ phase: 'building' });
    await builds(memory.terminal, { limit: 20 });
    const [head = '', first = '', second = ''] = memory.printed.split('\n');
    expect(head).toMatch(/^ID {8}PHASE {5}REPOSITORY {3}TAGS {4}STARTED$/);
    expect(first).toMatch(new RegExp(`^${other.id.slice(0, 8)}  building  team/api/v2 +latest  2023-11-1`));
    expect(second).toMatch(new RegExp(`^${build.id.slice(0, 8)}  waiting   ada/web +latest  2023-11-1`));

    const one = terminal();
    await builds(one.terminal, { limit: 20, repo: 'team/api/v2', json: true });
    expect(JSON.parse(one.printed)).toEqual([other.view]);
  });

  it('says how to start when there are none, and an empty list to programs', async () => {
    api.builds.length = 0;
    await builds(memory.terminal, { limit: 20 });
    expect(memory.printed).toContain('slipway build');
    const json = terminal();
    await builds(json.terminal, { limit: 20, json: true });
    expect(JSON.parse(json.printed)).toEqual([]);
  });
});

describe('a build named by the beginning of its id', () => {
  it('is found', async () => {
    await show(memory.terminal, build.id.slice(0, 6), {});
    expect(memory.printed).toContain(build.id);
  });

  it.each(['xyz', 'abc', `0000${'-'}0000`])('is refused when there is none: %s', async (id) => {
    await expect(show(memory.terminal, id, {})).rejects.toMatchObject({ name: 'CliError' });
  });

  it('is refused when there are two', async () => {
    const twin = api.addBuild();
    twin.view = { ...twin.view, id: `${build.id.slice(0, 30)}ffffff` };
    await expect(show(memory.terminal, build.id.slice(0, 8), {})).rejects.toMatchObject({ code: 'usage' });
  });
});

describe('slipway show', () => {
  it('shows place in the queue, result and fault, made harmless', async () => {
    build.change({ queue_position: 3 });
    await show(memory.terminal, build.id, {});
    expect(memory.printed).toMatch(/^queue {7}3 before it$/m);
    const ended = terminal();
    build.change({
      phase: 'error',
      queue_position: null,
      error_code: 'builderror',
      error: 'bad\u001b[2J',
      timings: { ...build.view.timings, started: '2023-11-14T22:13:21.000Z', seconds: 61.4 },
    });
    await show(ended.terminal, build.id, {});
    expect(ended.printed).toMatch(/^took {8}1 min 1 s$/m);
    expect(ended.printed).toMatch(/^error {7}\[builderror\] bad$/m);
    expect(ended.printed).not.toContain('ATTEMPT');
  });

  it('shows the attempts when there was more than one', async () => {
    const attempt = { platform: '', executor: 'local', error_code: null, error: null };
    build.change({
      attempts: [
        {
          ...attempt,
          epoch: 1,
          state: 'done',
          outcome: 'expired',
          error_code: 'workerlost',
          error: 'The worker died.',
          entered: {
            queued: '2023-11-14T22:13:20.000Z',
            scheduled: '2023-11-14T22:13:21.500Z',
            done: '2023-11-14T22:13:31.500Z',
          },
        },
        {
          ...attempt,
          epoch: 2,
          state: 'building',
          outcome: null,
          entered: { queued: '2023-11-14T22:13:32.000Z' },
        },
      ],
    });
    await show(memory.terminal, build.id, {});
    expect(memory.printed.trimEnd().split('\n').slice(-3)).toEqual([
      'ATTEMPT  OUTCOME   WAITED  RAN   WHY',
      '1        expired   1.5 s   10 s  [workerlost] The worker died.',
      '2        building  -       -',
    ]);
  });

  it('prints the whole view for programs', async () => {
    await show(memory.terminal, build.id, { json: true });
    expect(JSON.parse(memory.printed)).toEqual(build.view);
  });
});

describe('slipway logs', () => {
  beforeEach(() => {
    build.append({ message: 'one' }, { message: 'zwei \u001b[31mrot\u001b[2J' }, { message: 'drei' });
    build.change({ phase: 'error' });
  });

  it('prints the text, made harmless', async () => {
    expect(await logs(memory.terminal, build.id, {})).toBe(0);
    expect(memory.printed).toBe('one\nzwei rot\ndrei\nerror\n');
    const coloured = terminal({ colour: true });
    await logs(coloured.terminal, build.id, {});
    expect(coloured.printed).toBe('one\nzwei \u001b[31mrot\u001b[0m\ndrei\nerror\n');
  });

  it('prints the bytes as they are when they are asked for', async () => {
    await logs(memory.terminal, build.id, { raw: true });
    expect(memory.printed).toContain('\u001b[31mrot\u001b[2J');
    await expect(logs(memory.terminal, build.id, { raw: true, follow: true })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  it('prints all pages as JSON lines, of a build that runs too and without waiting for it', async () => {
    const running = api.addBuild();
    for (let i = 0; i < 5; i += 1) running.append({ message: `line ${i}` });
    expect(await logs(memory.terminal, running.id, { json: true })).toBe(0);
    expect(
      memory.printed
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line).log.message),
    ).toEqual([0, 1, 2, 3, 4].map((i) => `line ${i}`));
  });

  it('follows to the end; reading the log of a build that failed before is no failure', async () => {
    expect(await logs(memory.terminal, build.id, { follow: true })).toBe(0);
    expect(memory.printed).toBe('one\nzwei rot\ndrei\n==> Failed\n');
    const running = api.addBuild();
    const status = logs(memory.terminal, running.id, { follow: true });
    await until(() => running.followers === 1);
    running.change({ phase: 'error' });
    expect(await status).toBe(1);
  });
});

describe('slipway cancel', () => {
  it('cancels', async () => {
    await cancel(memory.terminal, build.id, { json: true });
    expect(build.view.phase).toBe('cancelled');
    expect(JSON.parse(memory.printed)).toEqual({ id: build.id, cancelled: true });
  });
});

describe('slipway repo create', () => {
  it('creates a repository, and refuses what is no name before it asks', async () => {
    await repoCreate(memory.terminal, 'team/api/v2', { json: true });
    expect(api.repositories).toContain('team/api/v2');
    expect(JSON.parse(memory.printed)).toEqual({ repository: 'team/api/v2' });
    const asked = api.requests.length;
    await expect(repoCreate(memory.terminal, 'Team', {})).rejects.toMatchObject({ code: 'usage' });
    expect(api.requests).toHaveLength(asked);
  });
});

describe('slipway login', () => {
  let folder: string;
  let profileFile: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-login-'));
    profileFile = join(folder, 'profile.json');
  });
  afterEach(async () => await rm(folder, { recursive: true }));

  const open = (interactive: boolean) => new MemoryTerminal({ profileFile, interactive });

  it('asks for name and password, and never shows or keeps the password', async () => {
    const person = open(true);
    const status = login(person.terminal, { server: api.url });
    await until(() => person.complained.includes('Username: '));
    person.typed.write('ada\r');
    await until(() => person.complained.includes('Password: '));
    person.typed.write('pa55 word\r');
    expect(await status).toBe(0);
    expect(person.complained + person.printed).not.toContain('pa55');
    expect(await readProfile(profileFile)).toEqual({
      current: api.url,
      servers: { [api.url]: { username: 'ada', token: api.token } },
    });
  });

  it('reads the password from a pipe', async () => {
    const script = open(false);
    script.typed.end('pa55 word\n');
    expect(await login(script.terminal, { server: api.url, username: 'ada', passwordStdin: true })).toBe(0);
  });

  it('says that the password is wrong, and keeps nothing', async () => {
    const script = open(false);
    script.typed.end('wrong');
    const flags = { server: api.url, username: 'ada', passwordStdin: true };
    await expect(login(script.terminal, flags)).rejects.toMatchObject({ code: 'refused', status: 401 });
    expect(await readProfile(profileFile)).toEqual({ servers: {} });
  });

  it('ends with 130 on Ctrl-C, and with an error when nobody can be asked', async () => {
    const person = open(true);
    const status = login(person.terminal, { server: api.url, username: 'ada' });
    await until(() => person.complained.includes('Password: '));
    person.typed.write('\u0003');
    expect(await status).toBe(130);
    await expect(login(open(false).terminal, { server: api.url })).rejects.toMatchObject({ code: 'usage' });
  });
});
