import { execFile, execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type BuildView,
  createRepository,
  imageDigest,
  readLog,
  waitForEnd,
} from '../harness/build-client.ts';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { startSshd, type TestKey, type TestSshd } from '../services/sshd.ts';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, '../../src/bin/slipway.ts');

/** A private repository behind a real SSH server, pushed to by git, built by a real server with a real worker. */
let folder: string;
let sshd: TestSshd;
let server: SlipwayServer;
let developer: TestKey;
let deployKey: TestKey;
let url: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-ssh-build-'));
  sshd = await startSshd();
  developer = await sshd.makeKey('ed25519');
  deployKey = await sshd.makeKey('ed25519');
  await sshd.authorize(developer);
  await sshd.makeRepository('app.git');
  url = sshd.urlOf('127.0.0.1', 'app.git');
  await mkdir(join(folder, 'app'));
  git('init', '-q', '-b', 'main');
  server = await SlipwayServer.start(['--retry-delay', '0', '--allow-private', '127.0.0.1']);
  await createRepository(server, 'admin', 'app');
});

afterAll(async () => {
  await server?.dispose();
  await sshd?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function git(...args: string[]): string {
  const ssh = `ssh -F /dev/null -i ${developer.file} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR`;
  return execFileSync('git', args, {
    cwd: join(folder, 'app'),
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_SSH_COMMAND: ssh,
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@a.example',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@a.example',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

async function push(content: string): Promise<string> {
  await writeFile(join(folder, 'app/Dockerfile'), `FROM scratch\nCOPY file /\nLABEL content="${content}"\n`);
  await writeFile(join(folder, 'app/file'), content);
  git('add', '-A');
  git('commit', '-q', '-m', content);
  git('push', '-q', url, 'main');
  return git('rev-parse', 'HEAD');
}

async function build(source: Record<string, unknown>): Promise<{ view: BuildView; text: string }> {
  const { id } = await server.json<BuildView>('POST', '/api/v1/repository/admin/app/build/', {
    git: { url, private_key: deployKey.privateKey, ...source },
    docker_tags: ['latest'],
  });
  const view = await waitForEnd(server, 'admin/app', id);
  const entries = await readLog(server, 'admin/app', id);
  return { view, text: JSON.stringify(entries) };
}

async function slipway(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return await run(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
    cwd: folder,
    env: { ...process.env, SLIPWAY_PROFILE: server.profileFile },
  });
}

test('what was pushed by ssh is built from its commit, once its key is installed', async () => {
  const first = await push('one');
  const refused = await build({ sha: first });
  expect(refused.view).toMatchObject({ phase: 'error', error_code: 'gitfailure' });
  expect(refused.view.error).toContain('Install its public key as a deploy key');
  expect(refused.view.error).toContain(deployKey.publicKey.split(' ').slice(0, 2).join(' '));

  await sshd.authorize(deployKey);
  await push('two');
  const { view, text } = await build({ sha: first });
  expect(view).toMatchObject({ phase: 'complete', commit: first, error: null });
  expect(await imageDigest(server, 'admin/app:latest')).toBe(view.digest);

  // The key is nowhere but in the sealed secrets of builds that are not over.
  const secret = deployKey.privateKey.split('\n')[2] ?? '';
  expect(secret.length).toBeGreaterThan(40);
  expect(text + refused.text + JSON.stringify(view)).not.toContain(secret);
  const audit = await server.json('GET', '/api/v1/superuser/audit?limit=1000');
  expect(JSON.stringify(audit)).not.toContain(secret);
  for (const name of await readdir(server.data, { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue;
    const bytes = await readFile(join(name.parentPath, name.name)).catch(() => Buffer.alloc(0));
    expect(bytes.includes(secret), join(name.parentPath, name.name)).toBe(false);
  }
});

test('a server whose host key has changed is refused until a superuser forgets the old one', async () => {
  const commit = await push('three');
  const { stdout } = await slipway('admin', 'git-hosts', 'list', '--json');
  const [host] = JSON.parse(stdout) as { server: string; key: string; namespace: string }[];
  expect(host).toMatchObject({ server: `127.0.0.1:${sshd.port}`, namespace: 'admin' });
  expect(`ssh-ed25519 ${host?.key}`).toBe(await sshd.hostKey());

  await sshd.changeHostKey('ed25519');
  const { view } = await build({ sha: commit });
  expect(view).toMatchObject({ phase: 'error', error_code: 'gitfailure' });
  expect(view.error).toMatch(/host key of 127\.0\.0\.1:\d+ has changed to SHA256:/);
  const command = /slipway (admin git-hosts forget \S+),/.exec(view.error ?? '')?.[1];
  await slipway(...(command ?? '').split(' '));

  // As people build it: by the command line, with the key in a file.
  const built = await slipway(
    ...['build', '--git', url, '--ref', 'main', '--git-key', deployKey.file],
    ...['--repo', 'admin/app', '-t', 'cli', '--json'],
  );
  const last = JSON.parse(built.stdout.trimEnd().split('\n').at(-1) ?? '{}') as { build?: BuildView };
  expect(last.build).toMatchObject({ phase: 'complete', commit });
  const again = await slipway('admin', 'git-hosts', 'list', '--json');
  expect(`ssh-ed25519 ${(JSON.parse(again.stdout) as { key: string }[])[0]?.key}`).toBe(await sshd.hostKey());
});
