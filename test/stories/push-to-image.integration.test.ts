import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildView, createRepository, imageDigest, waitForEnd } from '../harness/build-client.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { startSshd, type TestKey, type TestSshd } from '../services/sshd.ts';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, '../../src/bin/slipway.ts');
const examples = resolve(import.meta.dirname, '../../examples/git-hook');
const repository = '/api/v1/repository/admin/app';

interface Delivery {
  readonly id: string;
  readonly ref: string;
  readonly outcome: string;
  readonly reason: string | null;
  readonly build_id: string | null;
}

/**
 * Somebody sets a custom git trigger up with the command line, and pushes. Everything is what people have: a git
 * repository behind OpenSSH, the hook that the manual shows, a server with its registry, workers and buildah.
 */
let folder: string;
let sshd: TestSshd;
let server: SlipwayServer;
let developer: TestKey;
let url: string;
let trigger: string;
let webhook: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-story-'));
  sshd = await startSshd();
  developer = await sshd.makeKey('ed25519');
  await sshd.authorize(developer);
  url = sshd.urlOf('127.0.0.1', 'app.git');
  server = await SlipwayServer.start(['--retry-delay', '0', '--allow-private', '127.0.0.1']);
  await createRepository(server, 'admin', 'app');
});

afterAll(async () => {
  await server?.dispose();
  await sshd?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** What git said besides its result; for a push what the hook said as well. */
let remarks = '';

async function git(...args: string[]): Promise<string> {
  const ssh = `ssh -F /dev/null -i ${developer.file} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR`;
  const { stdout, stderr } = await run('git', args, {
    cwd: join(folder, 'app'),
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_SSH_COMMAND: ssh,
      GIT_AUTHOR_NAME: 'Ada',
      GIT_AUTHOR_EMAIL: 'ada@example.com',
      GIT_COMMITTER_NAME: 'Ada',
      GIT_COMMITTER_EMAIL: 'ada@example.com',
    },
  });
  remarks = stderr;
  return stdout.trim();
}

async function slipway(...args: string[]): Promise<string> {
  const { stdout } = await run(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', program, ...args],
    { cwd: folder, env: { ...process.env, SLIPWAY_PROFILE: server.profileFile } },
  );
  return stdout;
}

async function commit(message: string): Promise<string> {
  await writeFile(join(folder, 'app/Dockerfile'), 'FROM scratch\nCOPY file /\n');
  await writeFile(join(folder, 'app/file'), message);
  await git('add', '-A');
  await git('commit', '-q', '-m', message);
  return await git('rev-parse', 'HEAD');
}

async function deliveries(): Promise<readonly Delivery[]> {
  const answer = await server.json<{ deliveries: Delivery[] }>(
    'GET',
    `${repository}/trigger/${trigger}/deliveries`,
  );
  return answer.deliveries;
}

/** Pushes, and waits until the server has made up its mind about the delivery. */
async function push(...refs: string[]): Promise<Delivery> {
  const before = (await deliveries()).length;
  await git('push', '-q', url, ...refs);
  return await until('the delivery of the push', async () => {
    const all = await deliveries();
    const [newest] = all;
    return all.length > before && newest !== undefined && newest.outcome !== 'waiting' ? newest : undefined;
  });
}

/** The build that a delivery became, at its end. */
async function built(delivery: Delivery): Promise<BuildView & Record<string, unknown>> {
  expect(delivery).toMatchObject({ outcome: 'queued', reason: null });
  const view = await waitForEnd(server, 'admin/app', delivery.build_id ?? '');
  expect(view.phase, view.error ?? '').toBe('complete');
  return view as BuildView & Record<string, unknown>;
}

async function builds(): Promise<number> {
  return (await server.json<{ builds: unknown[] }>('GET', `${repository}/build/?limit=100`)).builds.length;
}

test('the command line makes a trigger, and says what to install', async () => {
  const printed = await slipway(
    ...['trigger', 'create', 'admin/app', '--service', 'custom-git', '--git-url', url],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is how templates look
    ...['--tag-template', 'sha-${commit_info.short_sha}'],
    '--semver-tags',
  );
  trigger = /Created the build trigger (\S+) of admin\/app/.exec(printed)?.[1] ?? '';
  webhook = /(http:\/\/\$token:\S+)/.exec(printed)?.[1] ?? '';
  const key = /(ssh-ed25519 \S+)/.exec(printed)?.[1] ?? '';
  expect(webhook).toBe(
    `http://$token:${new URL(webhook).password}@${server.host}/webhooks/push/trigger/${trigger}`,
  );

  await sshd.authorize({ privateKey: '', publicKey: key, file: '' });
  const bare = await sshd.makeRepository('app.git');
  // As docs/triggers.md says.
  await copyFile(join(examples, 'post-receive'), join(bare, 'hooks/post-receive'));
  await writeFile(join(bare, 'hooks/slipway-webhook'), `url = "${webhook}"\n`, { mode: 0o600 });
  await mkdir(join(folder, 'app'));
  await git('init', '-q', '-b', 'main');
});

test('a push to the default branch is built and tagged latest, with its branch and by the template', async () => {
  const sha = await commit('one\n\nSays "hello" \\o/ to $(id)');
  const view = await built(await push('main'));
  expect(view.tags).toEqual(['latest', 'main', `sha-${sha.slice(0, 7)}`]);
  for (const tag of view.tags) expect(await imageDigest(server, `admin/app:${tag}`)).toBe(view.digest);
  expect(view).toMatchObject({
    commit: sha,
    display_name: sha.slice(0, 7),
    manual_user: null,
    trigger: { id: trigger, service: 'custom-git', build_source: url },
    trigger_metadata: {
      commit: sha,
      ref: 'refs/heads/main',
      default_branch: 'main',
      git_url: url,
      commit_info: { message: 'one\n\nSays "hello" \\o/ to $(id)', author: { username: 'Ada' } },
    },
  });
});

test('a branch with a slash is built under its escaped name, and latest stays where it was', async () => {
  const latest = await imageDigest(server, 'admin/app:latest');
  await git('checkout', '-q', '-b', 'feature/x');
  const sha = await commit('two');
  const view = await built(await push('feature/x'));
  expect(view.tags).toEqual(['feature_x', `sha-${sha.slice(0, 7)}`]);
  expect(await imageDigest(server, 'admin/app:feature_x')).toBe(view.digest);
  expect(view.digest).not.toBe(latest);
  expect(await imageDigest(server, 'admin/app:latest')).toBe(latest);
});

test('a tag of git gives the tags of its version', async () => {
  await git('checkout', '-q', 'main');
  const sha = await commit('three');
  // The tag alone: the branch follows with the next push.
  await git('tag', 'v1.2.3');
  const view = await built(await push('v1.2.3'));
  expect(view.tags).toEqual(['1', '1.2', '1.2.3', `sha-${sha.slice(0, 7)}`, 'v1.2.3']);
  for (const tag of view.tags) expect(await imageDigest(server, `admin/app:${tag}`)).toBe(view.digest);
});

test('a commit that says [skip build], and a branch that is deleted, are not built', async () => {
  const before = await builds();
  await commit('docs only [skip build]');
  const skipped = await push('main');
  expect(skipped).toMatchObject({ outcome: 'skipped', ref: 'refs/heads/main', build_id: null });
  expect(skipped.reason).toContain('[skip build]');
  expect(await push('--delete', 'feature/x')).toMatchObject({ outcome: 'skipped' });
  expect(await builds()).toBe(before);
});

test('what was skipped can be built by hand, also with the command line', async () => {
  const sha = await git('rev-parse', 'main');
  const printed = await slipway('trigger', 'run', 'admin/app', trigger, '--branch', 'main', '--json');
  const last = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as { build: Record<string, unknown> };
  expect(last.build).toMatchObject({ phase: 'complete', manual_user: 'admin', commit: sha });
  expect(last.build.tags).toContain('main');
});

test('a hook whose trigger is off, or whose token is wrong, builds nothing and breaks no push', async () => {
  const before = await builds();
  await slipway('trigger', 'disable', 'admin/app');
  await commit('four');
  expect(await push('main')).toMatchObject({ outcome: 'refused' });
  // Words for whoever pushes, not the JSON that the hook got.
  expect(remarks).toMatch(
    /^remote: Slipway, refs\/heads\/main: The build trigger is switched off\. .*enable\.\s*$/,
  );
  await slipway('trigger', 'enable', 'admin/app');
  const wrong = await fetch(webhook.replace(/\$token:[^@]*@/, ''), {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from('$token:wrong').toString('base64')}`,
      'content-type': 'application/json',
    },
    body: '{}',
  });
  expect(wrong.status).toBe(403);
  expect(await builds()).toBe(before);
  // Nobody who lists triggers sees the token, and it is in no log.
  const listed = await slipway('trigger', 'show', 'admin/app', '--json');
  expect(listed).not.toContain(new URL(webhook).password);
  expect(await readFile(join(server.data, 'server.log'), 'utf8')).not.toContain(new URL(webhook).password);
});
