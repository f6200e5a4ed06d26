import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LfsServer } from '../../../test/fakes/lfs-server.ts';
import { startSshd, type TestKey, type TestSshd } from '../../../test/services/sshd.ts';
import { EgressGuard } from '../../egress/egress-guard.ts';
import { EgressPolicy } from '../../egress/egress-policy.ts';
import { fingerprintOf, type HostKey } from '../../model/host-key.ts';
import { type FetchGitOptions, fetchGit } from './fetch-git.ts';

let base: string;
let sshd: TestSshd;
let key: TestKey;
let runs = 0;

/** Names that only this resolver knows, so what ssh connects to can only be the address that was checked. */
const guard = new EgressGuard(
  new EgressPolicy({ allowHosts: ['git.example', 'other.example', 'lfs.example'] }),
  async (host) => [{ address: host === 'inside.example' ? '10.0.0.1' : '127.0.0.1', family: 4 }],
);

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'slipway-git-ssh-'));
  sshd = await startSshd();
  key = await sshd.makeKey('ed25519');
  await sshd.authorize(key);
});

afterAll(async () => {
  await sshd?.[Symbol.asyncDispose]();
  rmSync(base, { recursive: true, force: true });
});

beforeEach(() => {
  runs++;
});

function git(folder: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd: folder,
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      HOME: base,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@a.example',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@a.example',
      // A push as people do it, with the client's own ssh.
      GIT_SSH_COMMAND: `ssh -F /dev/null -i ${key.file} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR`,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

interface Clone {
  readonly name: string;
  readonly folder: string;
  /** Commits files and pushes them over ssh. */
  push(files: Record<string, string>, ...options: string[]): string;
}

async function repository(title: string): Promise<Clone> {
  const name = `${title}-${runs}.git`;
  await sshd.makeRepository(name);
  const folder = join(base, `clone-${title}-${runs}`);
  mkdirSync(folder);
  git(folder, 'init', '-q', '-b', 'main');
  git(folder, 'remote', 'add', 'origin', sshd.urlOf('127.0.0.1', name));
  return {
    name,
    folder,
    push(files, ...options) {
      for (const [path, content] of Object.entries(files)) {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), content);
      }
      git(folder, 'add', '-A');
      git(folder, 'commit', '-q', '-m', 'change', ...options);
      git(folder, 'push', '-q', '--force', 'origin', 'main');
      return git(folder, 'rev-parse', 'HEAD');
    },
  };
}

let attempts = 0;

async function fetchFrom(name: string, options: Partial<FetchGitOptions> = {}) {
  const attempt = join(base, `attempt-${attempts++}`);
  mkdirSync(attempt, { mode: 0o700 });
  const lines: string[] = [];
  const learned: HostKey[] = [];
  const root = join(attempt, 'source');
  try {
    const fetched = await fetchGit({
      url: sshd.urlOf('git.example', name),
      ref: '',
      credentials: { privateKey: key.privateKey },
      guard,
      root,
      scratch: attempt,
      onLine: (line) => lines.push(line),
      onHostKey: (hostKey) => learned.push(hostKey),
      ...options,
    });
    return { ...fetched, root, lines, learned };
  } finally {
    // Whatever happened, the key is gone, and was in no line.
    expect(existsSync(join(attempt, 'git/key'))).toBe(false);
    const secret = key.privateKey.split('\n')[2] ?? '?';
    expect(lines.filter((line) => line.includes(secret))).toEqual([]);
  }
}

async function hostKey(): Promise<HostKey> {
  const [type = '', value = ''] = (await sshd.hostKey()).split(' ');
  return { host: 'git.example', port: sshd.port, type, key: value };
}

describe('git over ssh', () => {
  it('fetches what was pushed, with every kind of key', async () => {
    const app = await repository('app');
    const commit = app.push({ Dockerfile: 'FROM scratch' });
    for (const [type, options] of [
      ['ed25519', {}],
      ['rsa', {}],
      ['rsa', { pem: true }],
      ['ecdsa', {}],
    ] as const) {
      const each = await sshd.makeKey(type, options);
      await sshd.authorize(each);
      // As it comes from a form: with carriage returns, and without its last line end.
      const privateKey = each.privateKey.trimEnd().replaceAll('\n', '\r\n');
      const fetched = await fetchFrom(app.name, { credentials: { privateKey } });
      expect(fetched.commit).toBe(commit);
      expect(readFileSync(join(fetched.root, 'Dockerfile'), 'utf8')).toBe('FROM scratch');
    }
  });

  it('fetches a commit that no branch names any more when the server gives it, else all of the history', async () => {
    const app = await repository('app');
    const first = app.push({ Dockerfile: '1' });
    app.push({ Dockerfile: '2' });
    // The server's sshd lets no GIT_PROTOCOL pass, so this is the old protocol, where a server may refuse.
    const { commit, lines } = await fetchFrom(app.name, { ref: first });
    expect(commit).toBe(first);
    expect(lines.join('\n')).toContain('whole history');
    git(join(sshd.repositories, app.name), 'config', 'uploadpack.allowAnySHA1InWant', 'true');
    const single = await fetchFrom(app.name, { ref: first });
    expect(single.commit).toBe(first);
    expect(single.lines.join('\n')).not.toContain('whole history');
  });

  it('says that a commit may have been lost to a force push', async () => {
    const app = await repository('app');
    const lost = app.push({ Dockerfile: '1' });
    app.push({ Dockerfile: '2' }, '--amend');
    const bare = join(sshd.repositories, app.name);
    git(bare, 'reflog', 'expire', '--expire=now', '--all');
    git(bare, 'gc', '-q', '--prune=now');
    await expect(fetchFrom(app.name, { ref: lost })).rejects.toMatchObject({
      code: 'gitcheckout',
      message: expect.stringMatching(
        /^Could not checkout git ref\. If you force pushed recently, the commit may be missing\./,
      ),
    });
  });

  it('says how a key that is refused gets accepted', async () => {
    const app = await repository('app');
    app.push({ Dockerfile: '1' });
    const stranger = await sshd.makeKey('ed25519');
    const publicHalf = stranger.publicKey.split(' ').slice(0, 2).join(' ');
    await expect(
      fetchFrom(app.name, { credentials: { privateKey: stranger.privateKey } }),
    ).rejects.toMatchObject({
      code: 'gitfailure',
      owner: 'user',
      message: expect.stringMatching(
        /^Could not clone git repository ssh:\/\/git\.example:\d+\/.*refused the key\. Install its public key as a deploy key/,
      ),
    });
    await expect(
      fetchFrom(app.name, { credentials: { privateKey: stranger.privateKey } }),
    ).rejects.toMatchObject({ message: expect.stringContaining(publicHalf) });
    await expect(fetchFrom(app.name, { credentials: {} })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('wants a key, and none was given'),
    });
    const locked = await sshd.makeKey('ed25519', { passphrase: 'hunter2' });
    await sshd.authorize(locked);
    for (const privateKey of [locked.privateKey, 'not a key'])
      await expect(fetchFrom(app.name, { credentials: { privateKey } })).rejects.toMatchObject({
        code: 'gitfailure',
        message: expect.stringMatching(/refused the key|cannot be read/),
      });
  });

  it('says that a repository is not there', async () => {
    await expect(fetchFrom('nowhere.git')).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringMatching(
        /^Could not clone git repository[\s\S]*not appear to be a git repository/,
      ),
    });
  });
});

describe('host keys', () => {
  it('are believed once, told, and expected from then on', async () => {
    const app = await repository('app');
    app.push({ Dockerfile: '1' });
    const expected = await hostKey();
    const { learned } = await fetchFrom(app.name);
    expect(learned).toEqual([expected]);
    expect((await fetchFrom(app.name, { hostKeys: learned })).learned).toEqual([]);
    for (const type of ['ed25519', 'rsa', 'ecdsa'] as const) {
      const before = await hostKey();
      await sshd.changeHostKey(type);
      // A key of another type is a changed key too, and none that is learned beside.
      await expect(fetchFrom(app.name, { hostKeys: [before] })).rejects.toMatchObject({
        code: 'gitfailure',
        owner: 'user',
        message: expect.stringMatching(
          /host key of git\.example:\d+ has changed.*slipway admin git-hosts forget git\.example:\d+/,
        ),
      });
    }
    const before = await hostKey();
    await sshd.changeHostKey('ed25519');
    const now = await hostKey();
    const failure = await fetchFrom(app.name, { hostKeys: [before] }).catch((error: Error) => error);
    expect(failure).toMatchObject({ message: expect.stringContaining(fingerprintOf(before)) });
    expect(failure).toMatchObject({ message: expect.stringContaining(fingerprintOf(now)) });
    // The same host at another port is another server.
    expect((await fetchFrom(app.name, { hostKeys: [{ ...before, port: 22 }] })).learned).toEqual([now]);
  });
});

describe('submodules over ssh', () => {
  async function withSubmodule(path: string, url: string, commit: string): Promise<Clone> {
    const app = await repository('app');
    writeFileSync(join(app.folder, '.gitmodules'), `[submodule "lib"]\n\tpath = "${path}"\n\turl = ${url}\n`);
    git(app.folder, 'update-index', '--add', '--cacheinfo', `160000,${commit},${path}`);
    git(app.folder, 'add', '.gitmodules');
    git(app.folder, 'commit', '-q', '-m', 'app');
    git(app.folder, 'push', '-q', 'origin', 'main');
    return app;
  }

  it('get the key on the same server, and on no other', async () => {
    const lib = await repository('lib');
    const commit = lib.push({ deep: 'deep' });
    for (const url of [`../${lib.name}`, sshd.urlOf('git.example', lib.name)]) {
      runs++;
      const app = await withSubmodule('lib', url, commit);
      const { root, submodules, learned } = await fetchFrom(app.name);
      expect(submodules).toBe(1);
      expect(readFileSync(join(root, 'lib/deep'), 'utf8')).toBe('deep');
      expect(learned).toHaveLength(1);
    }
    runs++;
    // The very same server by another name: it would let the key in, if it were shown.
    const app = await withSubmodule('lib', sshd.urlOf('other.example', lib.name), commit);
    await expect(fetchFrom(app.name)).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('other.example wants a key, and none was given'),
    });
  });
});

describe('Git LFS', () => {
  const large = Buffer.from('large file\n'.repeat(10_000));
  const attributes = '*.bin filter=lfs diff=lfs merge=lfs -text\n';
  let lfs: LfsServer;
  beforeEach(async () => {
    lfs = await LfsServer.start();
  });
  afterEach(async () => await lfs[Symbol.asyncDispose]());

  async function withLfs(files: Record<string, string> = {}): Promise<Clone> {
    const app = await repository('app');
    const pointer = lfs.add(large);
    app.push({
      '.gitattributes': attributes,
      'a.bin': pointer,
      'deep/b.bin': pointer,
      'c.txt': pointer,
      ...files,
    });
    await sshd.answerLfs({
      href: `http://lfs.example:${lfs.port}/team/app.git/info/lfs`,
      header: { Authorization: 'RemoteAuth by-ssh' },
      expires_in: 600,
    });
    lfs.wanted = 'RemoteAuth by-ssh';
    return app;
  }

  it('gives its files when it is asked for, by what the SSH server says, and the same tree each time', async () => {
    const app = await withLfs();
    const fetched = await fetchFrom(app.name, { lfs: true });
    for (const path of ['a.bin', 'deep/b.bin']) {
      expect(readFileSync(join(fetched.root, path)).equals(large)).toBe(true);
      const { mode, mtimeMs } = statSync(join(fetched.root, path));
      expect([mode & 0o777, mtimeMs]).toEqual([0o644, statSync(join(fetched.root, 'c.txt')).mtimeMs]);
    }
    // The attributes do not give it to LFS, whatever it looks like.
    expect(readFileSync(join(fetched.root, 'c.txt'), 'utf8')).toContain('git-lfs.github.com/spec');
    expect(fetched.bytes).toBeGreaterThan(2 * large.length);
    // One object, however many files it is.
    expect(lfs.requests.filter(({ method }) => method === 'GET')).toHaveLength(1);
    expect(await sshd.commands()).toContain(
      `git-lfs-authenticate '${sshd.repositories}/${app.name}' download`,
    );
  });

  it('leaves pointers when it is not, and says so', async () => {
    const app = await withLfs();
    const { root, lines } = await fetchFrom(app.name);
    expect(readFileSync(join(root, 'a.bin'), 'utf8')).toContain(`size ${large.length}`);
    expect(lines.join('\n')).toContain('Git LFS keeps 2 files');
    expect(lfs.requests).toEqual([]);
  });

  it('is asked where .lfsconfig says, without credentials for another place', async () => {
    const app = await withLfs({ '.lfsconfig': `[lfs]\n\turl = http://lfs.example:${lfs.port}/own\n` });
    lfs.wanted = undefined;
    const { root } = await fetchFrom(app.name, { lfs: true });
    expect(readFileSync(join(root, 'a.bin')).equals(large)).toBe(true);
    expect(lfs.requests[0]).toMatchObject({ path: '/own/objects/batch' });
    expect(lfs.requests[0]?.headers.authorization).toBeUndefined();
  });

  it.each(['http://inside.example/x', 'https://127.0.0.1:1/x', 'file:///etc', 'ssh://git.example/x'])(
    'is not asked at %s',
    async (url) => {
      const app = await withLfs({ '.lfsconfig': `[lfs]\n\turl = ${url}\n` });
      await expect(fetchFrom(app.name, { lfs: true })).rejects.toMatchObject({ code: 'gitfailure' });
    },
  );

  it.each([
    [
      'an object somewhere inside',
      (server: LfsServer) => (server.href = () => 'http://inside.example/x'),
      /may not reach/,
    ],
    ['an object in a file', (server: LfsServer) => (server.href = () => 'file:///etc/passwd'), /scheme/],
    ['other bytes', (server: LfsServer) => (server.forged = Buffer.alloc(large.length, 'x')), /other bytes/],
    [
      'too many bytes',
      (server: LfsServer) => (server.forged = Buffer.alloc(large.length + 1)),
      /larger than/,
    ],
    ['too few bytes', (server: LfsServer) => (server.forged = Buffer.alloc(1)), /other bytes/],
    ['a closed door', (server: LfsServer) => (server.wanted = 'another'), /without credentials/],
  ])('may not give %s', async (_what, change, message) => {
    const app = await withLfs();
    change(lfs);
    await expect(fetchFrom(app.name, { lfs: true })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringMatching(message),
    });
  });

  it('says which object nobody pushed', async () => {
    const oid = 'a'.repeat(64);
    const app = await withLfs({
      'lost.bin': `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize 5\n`,
    });
    await expect(fetchFrom(app.name, { lfs: true })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining(`the object ${oid} is not to be had: Object does not exist`),
    });
  });

  it('counts against the limits of a source before anything is fetched, and against its time', async () => {
    const app = await withLfs();
    await expect(
      fetchFrom(app.name, { lfs: true, limits: { maxBytes: 2 * large.length } }),
    ).rejects.toMatchObject({ code: 'sourcetoolarge' });
    expect(lfs.requests).toEqual([]);
    lfs.silent = true;
    await expect(fetchFrom(app.name, { lfs: true, idleTimeout: 6_000 })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('Nothing was received'),
    });
    await expect(fetchFrom(app.name, { lfs: true, totalTimeout: 3_000 })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('longer than 3 s'),
    });
  });
});

describe('hostile addresses', () => {
  const strict = new EgressGuard(new EgressPolicy(), async (host) =>
    host === 'inside.example'
      ? [{ address: '127.0.0.1', family: 4 }]
      : [{ address: '93.184.216.34', family: 4 }],
  );

  it('of ssh servers inside are refused, whatever their spelling', async () => {
    const app = await repository('app');
    app.push({ Dockerfile: '1' });
    const before = await sshd.commands();
    const path = `${sshd.repositories}/${app.name}`;
    for (const host of [
      '127.0.0.1',
      '127.1',
      '2130706433',
      '0x7f000001',
      '017700000001',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '169.254.169.254',
      'inside.example',
    ])
      await expect(
        fetchFrom(app.name, { guard: strict, url: `ssh://${sshd.user}@${host}:${sshd.port}${path}` }),
        host,
      ).rejects.toMatchObject({ code: 'gitfailure', message: expect.stringContaining('may not reach') });
    expect(await sshd.commands()).toBe(before);
  });

  it('are not taken for options or helpers', async () => {
    const marker = join(base, 'marker');
    for (const url of [
      `--upload-pack=touch ${marker}`,
      `ext::sh -c touch% ${marker}`,
      `file://${sshd.repositories}/app.git`,
      `-oProxyCommand=touch ${marker}`,
      `ssh://-oProxyCommand=touch%20${marker}/x`,
      `ssh://${sshd.user}@git.example:${sshd.port}/--upload-pack=touch`,
      `ssh://${sshd.user}@git.example:${sshd.port}/a%0d%0ab`,
      `${sshd.user}@git.example:a\r\nb`,
      `ssh://${sshd.user}:hunter2@git.example:${sshd.port}/x`,
    ]) {
      const failure = await fetchFrom('x', { url }).catch((error: Error) => error);
      expect(failure, url).toMatchObject({ name: 'SourceError', code: 'gitfailure' });
      expect(failure).toMatchObject({ message: expect.not.stringContaining('hunter2') });
    }
    expect(existsSync(marker)).toBe(false);
    expect(readdirSync(base)).not.toContain('marker');
  });
});
