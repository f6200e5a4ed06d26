import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { FakeRepository } from '../../test/fakes/git-host-state.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { systemClock } from '../base/clock.ts';
import { addClientCommands } from './program.ts';

let folder: string;
let github: GithubApi;
let source: FakeRepository;
let server: ApiHarness;
let kim: string;
const never = new AbortController().signal;
const gitUrl = 'ssh://git@git.example.com/team/web.git';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-trigger-'));
  await writeFile(join(folder, 'token'), 'good-token\n');
  github = await new GithubApi().start();
  github.state.addUser('kim', 'good-token');
  source = github.state.addRepository('kim/app', { kim: 'admin' });
  source.commit('main', { files: { Dockerfile: 'FROM scratch\n' } });
  server = await startApiServer({
    hosts: { github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } },
  });
  kim = await server.addUser('kim');
  for (const name of ['kim/web', 'kim/hosted', 'kim/none']) await server.addRepository(name);
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await github?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A whole command line, against a real server. */
async function run(...words: string[]) {
  const memory = new MemoryTerminal({ server: server.url, token: kim, cwd: folder });
  let status: number | undefined;
  const program = new Command('slipway').exitOverride();
  addClientCommands(program, memory.terminal, (given) => {
    status = given;
  });
  await program.parseAsync(['trigger', ...words], { from: 'user' });
  return { status, printed: memory.printed, complained: memory.complained };
}
const triggersOf = async (repository: string) =>
  (await server.call('GET', `/api/v1/repository/${repository}/trigger/`, { token: kim })).json.triggers as {
    id: string;
    config: Record<string, unknown>;
  }[];

test('a custom trigger is created, shown, run, switched, listened to and deleted', async () => {
  expect((await run('list', 'kim/web')).printed).toContain('slipway trigger create kim/web');
  await expect(run('show', 'kim/web')).rejects.toMatchObject({ code: 'refused' });
  const made = await run(
    ...['create', 'kim/web', '--git-url', gitUrl, '--dockerfile', 'app/Dockerfile', '--context', 'app'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is how templates look
    ...['--tag-template', '${commit}', '--branch-regex', 'heads/(main', '--path-filter', 'app/'],
    ...['--cron', '30 3 * * 1 main', '--newest-only', '--no-latest', '--build-arg', 'A=1', '--semver-tags'],
  );
  expect(made.status).toBe(0);
  expect(made.printed).toMatch(/ssh-ed25519 \S+/);
  expect(made.printed).toMatch(/http:\/\/\$token:\S+@\S+\/webhooks\/push\/trigger\/\S+/);
  expect(made.complained).toContain('passed over');
  const [trigger] = await triggersOf('kim/web');
  const id = trigger?.id ?? '';
  expect(trigger?.config).toMatchObject({
    build_source: gitUrl,
    dockerfile_path: '/app/Dockerfile',
    context: '/app',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is how templates look
    tag_templates: ['${commit}'],
    default_tag_from_ref: true,
    latest_for_default_branch: false,
    branchtag_regex: 'heads/(main',
    path_filters: ['app/'],
    cron: [{ schedule: '30 3 * * 1', branch: 'main' }],
    newest_only: true,
    build_args: { A: '1' },
    semver_tags: true,
  });
  const secret = /\$token:([^@]+)@/.exec(made.printed)?.[1] ?? '';
  for (const words of [['list'], ['list', '--json'], ['show'], ['show', '--json']]) {
    const [command = '', ...flags] = words;
    const { printed } = await run(command, 'kim/web', ...flags);
    expect(printed).toContain(id.slice(0, 8));
    expect(printed).not.toContain(secret);
  }
  const shown = (await run('show', 'kim/web', id.slice(0, 8), '--credentials')).printed;
  expect(shown).toContain(secret);
  // Labels are words, and one like the other.
  for (const line of shown.trimEnd().split('\n'))
    expect(line).toMatch(/^(?:[a-z]+|Dockerfile|Git)(?: [a-z]+| LFS| URL)* {2,}\S/);
  expect(shown).toMatch(/^Dockerfile {2,}\/app\/Dockerfile$/m);
  expect(shown).toMatch(/^schedule {2,}30 3 \* \* 1 main$/m);
  expect(shown).toMatch(/^build arguments {2,}A=1$/m);
  expect(shown).toMatch(/^newest only {2,}yes$/m);
  expect(shown).toMatch(/^webhook URL {2,}http/m);

  const started = await run('run', 'kim/web', id, '--branch', 'main', '--detach');
  expect(started.printed).toMatch(/^[0-9a-f-]{36}\n$/);
  await expect(run('run', 'kim/web', id)).rejects.toMatchObject({ code: 'usage' });
  await expect(run('run', 'kim/web', id, '--branch', 'a', '--tag', 'b')).rejects.toMatchObject({
    code: 'usage',
  });

  expect((await run('disable', 'kim/web')).printed).toBe(`The build trigger ${id} is off\n`);
  await expect(run('run', 'kim/web', '--branch', 'main')).rejects.toMatchObject({ status: 400 });
  expect((await run('list', 'kim/web')).printed).toContain('off (user_toggled)');
  expect(JSON.parse((await run('enable', 'kim/web', '--json')).printed)).toMatchObject({ id, enabled: true });

  expect((await run('deliveries', 'kim/web')).printed).toContain('Nothing was delivered');
  const push = { commit: '1'.repeat(40), ref: 'refs/heads/\u009b2J', default_branch: 'main' };
  for (const ref of ['refs/heads/other', push.ref])
    await server.call('POST', `/webhooks/push/trigger/${id}`, {
      headers: { authorization: `Bearer ${secret}` },
      body: { ...push, ref },
    });
  while (await server.triggers.background.worker.round(never));
  const { printed } = await run('deliveries', 'kim/web', '-n', '10');
  expect(printed).toMatch(/heads\/other +1111111 +build [0-9a-f]{8}/);
  expect(printed).not.toContain('\u009b');
  const listed = JSON.parse((await run('deliveries', 'kim/web', '--json')).printed) as {
    id: string;
    outcome: string;
  }[];
  const queued = listed.find(({ outcome }) => outcome === 'queued')?.id ?? '';
  const again = JSON.parse(
    (await run('redeliver', 'kim/web', id.slice(0, 8), queued.slice(0, 8), '--json')).printed,
  );
  expect(again).toMatchObject({ redelivery_of: queued });
  await expect(run('redeliver', 'kim/web', id, '0000')).rejects.toMatchObject({ code: 'refused' });

  expect((await run('analyze', 'kim/web')).printed).toContain('analyzed: the settings only');
  expect((await run('delete', 'kim/web', id.slice(0, 8))).printed).toBe(`Deleted the build trigger ${id}\n`);
  expect(await triggersOf('kim/web')).toEqual([]);
});

test('a trigger at GitHub is installed there with the token of a file', async () => {
  const made = await run(
    'create',
    'kim/hosted',
    '--service',
    'github',
    '--source',
    'kim/app',
    '--token-file',
    'token',
  );
  expect(made.printed).toContain(`${github.url}/kim/app`);
  expect(made.printed + made.complained).not.toContain('good-token');
  expect([source.hooks.size, source.keys.size]).toEqual([1, 1]);
  const [trigger] = await triggersOf('kim/hosted');
  github.fail({ at: /^DELETE .*keys/, status: 403, times: 1 });
  const gone = await run('delete', 'kim/hosted', trigger?.id ?? '', '--json');
  expect(JSON.parse(gone.printed).left_at_host).toEqual([expect.stringContaining('deploy key')]);
});

test('one that cannot be activated is taken away again, and flags that do not fit are refused before anything is made', async () => {
  for (const words of [
    ['--git-url', 'file:///etc/passwd'],
    ['--git-url', gitUrl, '--cron', '1 2 3 4 5 main', '--platform', 'pdp-11'],
    ['--service', 'github', '--source', 'kim/none', '--token-file', 'token'],
  ])
    await expect(run('create', 'kim/none', ...words)).rejects.toMatchObject({ name: 'CliError' });
  for (const words of [
    [],
    ['--git-url', gitUrl, '--source', 'kim/app'],
    ['--service', 'github', '--git-url', gitUrl],
    ['--service', 'github', '--source', 'kim/app'],
    ['--git-url', gitUrl, '--cron', 'at noon'],
    ['--service', 'github', '--source', 'kim/app', '--token-file', 'not-there'],
  ])
    await expect(run('create', 'kim/none', ...words)).rejects.toMatchObject({ name: 'CliError' });
  expect(await triggersOf('kim/none')).toEqual([]);
});
