import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EgressGuard } from '../../egress/egress-guard.ts';
import { EgressPolicy } from '../../egress/egress-policy.ts';
import { type FetchGitOptions, fetchGit } from './fetch-git.ts';

let base: string;
let server: Server;
let origin: string;
let runs = 0;
/** What the server asks for, and what it does instead of serving git. */
let wantedAuthorization: string | undefined;
let intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
let seenCommandLines: string[] = [];

const guard = new EgressGuard(new EgressPolicy({ allowCidrs: ['127.0.0.1/32'] }), async (host) => {
  if (host === 'inside.example') return [{ address: '10.0.0.1', family: 4 }];
  return [{ address: '127.0.0.1', family: 4 }];
});

function git(folder: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd: join(base, folder),
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH,
      HOME: base,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_AUTHOR_NAME: 'a',
      GIT_AUTHOR_EMAIL: 'a@a.example',
      GIT_COMMITTER_NAME: 'a',
      GIT_COMMITTER_EMAIL: 'a@a.example',
      GIT_AUTHOR_DATE: '1500000000 +0000',
      GIT_COMMITTER_DATE: '1500000000 +0000',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

function repository(name: string): void {
  mkdirSync(join(base, name));
  git(name, 'init', '-q', '-b', 'main');
  git(name, 'config', 'http.receivepack', 'false');
}

function commit(name: string, files: Record<string, string>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(base, name, path)), { recursive: true });
    writeFileSync(join(base, name, path), content);
  }
  git(name, 'add', '-A');
  git(name, 'commit', '-q', '-m', Object.keys(files).join(' '));
  return git(name, 'rev-parse', 'HEAD');
}

/** git's own CGI program behind node's server. */
function serveGit(request: IncomingMessage, response: ServerResponse): void {
  if (intercept?.(request, response)) return;
  if (wantedAuthorization !== undefined && request.headers.authorization !== wantedAuthorization) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
    return;
  }
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      seenCommandLines.push(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
    } catch {
      // It has ended meanwhile.
    }
  }
  const url = new URL(request.url ?? '/', 'http://localhost');
  const backend = spawn(
    join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend'),
    {
      env: {
        PATH: process.env.PATH,
        HOME: base,
        GIT_PROJECT_ROOT: base,
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method,
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        ...(request.headers['content-encoding'] === undefined
          ? {}
          : { HTTP_CONTENT_ENCODING: request.headers['content-encoding'] }),
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  request.pipe(backend.stdin);
  backend.stdin.on('error', () => {});
  let head = Buffer.alloc(0);
  let started = false;
  backend.stdout.on('data', (chunk: Buffer) => {
    if (started) {
      response.write(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end === -1) return;
    started = true;
    const lines = head.toString('latin1', 0, end).split('\r\n');
    const headers = lines.map(
      (line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()] as const,
    );
    const status = headers.find(([name]) => name === 'Status')?.[1];
    response.writeHead(
      status === undefined ? 200 : Number.parseInt(status, 10),
      Object.fromEntries(headers.filter(([name]) => name !== 'Status')),
    );
    response.write(head.subarray(end + 4));
  });
  backend.stdout.on('end', () => response.end());
}

beforeEach(async () => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'slipway-git-')));
  server = createServer(serveGit);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://git.example:${(server.address() as AddressInfo).port}`;
  wantedAuthorization = undefined;
  intercept = undefined;
  seenCommandLines = [];
  repository('app');
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(base, { recursive: true, force: true });
});

async function fetchFrom(ref = '', options: Partial<FetchGitOptions> = {}) {
  const attempt = join(base, `attempt-${runs++}`);
  mkdirSync(attempt, { mode: 0o700 });
  const lines: string[] = [];
  const root = join(attempt, 'source');
  const fetched = await fetchGit({
    url: `${origin}/app/.git`,
    ref,
    guard,
    root,
    scratch: attempt,
    onLine: (line) => lines.push(line),
    ...options,
  });
  return { ...fetched, root, lines };
}

describe('fetchGit', () => {
  it('checks out a branch, a tag, a full ref, a commit, a short commit and the default branch', async () => {
    const first = commit('app', { Dockerfile: 'FROM scratch', 'bin/run': 'x' });
    git('app', 'tag', 'v1');
    git('app', 'branch', 'feature/x');
    const second = commit('app', { Dockerfile: 'FROM other' });
    for (const [ref, expected] of [
      ['', second],
      ['main', second],
      ['refs/heads/feature/x', first],
      ['feature/x', first],
      ['v1', first],
      [first, first],
      [first.slice(0, 9), first],
    ] as const) {
      const { commit: found, root } = await fetchFrom(ref);
      expect([ref, found]).toEqual([ref, expected]);
      expect(readFileSync(join(root, 'Dockerfile'), 'utf8')).toBe(
        expected === first ? 'FROM scratch' : 'FROM other',
      );
      expect(readdirSync(root).sort()).toEqual(['Dockerfile', 'bin']);
    }
  });

  it('takes digits for a commit when a commit is meant, whatever branches and tags are called', async () => {
    const first = commit('app', { Dockerfile: 'FROM scratch' });
    commit('app', { Dockerfile: 'FROM other' });
    const digits = first.slice(0, 9);
    git('app', 'branch', digits);
    git('app', 'tag', first.slice(0, 8));
    const found = async (given: string) => (await fetchFrom('', { commit: given })).commit;
    expect(await found(digits)).toBe(first);
    expect(await found(first.slice(0, 8))).toBe(first);
    expect(await found(first)).toBe(first);
    const branch = git('app', 'rev-parse', `refs/heads/${digits}`);
    expect((await fetchFrom(digits)).commit).toBe(branch);
    git('app', 'branch', 'deadbeef');
    await expect(found('deadbeef')).rejects.toMatchObject({
      code: 'gitcheckout',
      message: expect.stringContaining('no commit that begins with deadbeef'),
    });
  });

  it('says once in the words of git that a ref is not there', async () => {
    commit('app', { Dockerfile: '1' });
    for (const [ref, words] of [
      ['refs/heads/nope', 'no branch "nope"'],
      ['refs/tags/v9', 'no tag "v9"'],
      ['refs/pull/1/head', 'no ref "refs/pull/1/head"'],
    ] as const) {
      const lines: string[] = [];
      const failed = await fetchFrom(ref, { onLine: (line) => lines.push(line) }).catch((error) => error);
      expect(failed).toMatchObject({ code: 'gitcheckout', message: expect.stringContaining(words) });
      const log = [...lines, failed.message].join('\n');
      expect(log.match(/fatal: /g)).toHaveLength(1);
    }
  });

  it('gives the same commit the same tree, and fetches no history', async () => {
    commit('app', { old: 'x' });
    writeFileSync(join(base, 'app/run'), '#!/bin/sh', { mode: 0o755 });
    symlinkSync('../outside', join(base, 'app/link'));
    commit('app', { 'a/b/c': 'y' });
    const { root, entries, bytes } = await fetchFrom('main');
    for (const path of ['.', 'a', 'a/b', 'a/b/c', 'run', 'link']) {
      expect([path, lstatSync(join(root, path)).mtimeMs]).toEqual([path, 1_500_000_000_000]);
    }
    expect([statSync(join(root, 'run')).mode & 0o777, statSync(join(root, 'old')).mode & 0o777]).toEqual([
      0o755, 0o644,
    ]);
    expect([entries, bytes]).toEqual([4, 1 + 9 + 10 + 1]);
    const kept = (await fetchFrom('main', { keepGit: true })).root.slice(base.length + 1);
    expect(git(kept, 'rev-list', '--count', 'HEAD')).toBe('1');
    expect(git(kept, 'status', '--porcelain')).toBe('');
  });

  it('fetches everything when the server gives no single commits', async () => {
    const first = commit('app', { Dockerfile: '1' });
    commit('app', { Dockerfile: '2' });
    intercept = (request) => {
      // Without protocol 2, and without leave for unadvertised commits, a server refuses them.
      request.headers['git-protocol'] = '';
      return false;
    };
    const { commit: found, lines } = await fetchFrom(first);
    expect(found).toBe(first);
    expect(lines.join('\n')).toContain('whole history');
  });

  it('fetches submodules recursively, relative ones too', async () => {
    repository('inner');
    commit('inner', { deep: 'deep' });
    repository('lib');
    writeFileSync(
      join(base, 'lib/.gitmodules'),
      '[submodule "inner"]\n\tpath = in/ner\n\turl = ../../inner/.git\n',
    );
    git('lib', 'update-index', '--add', '--cacheinfo', `160000,${git('inner', 'rev-parse', 'HEAD')},in/ner`);
    git('lib', 'add', '.gitmodules');
    git('lib', 'commit', '-q', '-m', 'lib');
    writeFileSync(
      join(base, 'app/.gitmodules'),
      `[submodule "a.lib"]\n\tpath = lib\n\turl = ${origin}/lib/.git\n`,
    );
    git('app', 'update-index', '--add', '--cacheinfo', `160000,${git('lib', 'rev-parse', 'HEAD')},lib`);
    git('app', 'add', '.gitmodules');
    git('app', 'commit', '-q', '-m', 'app');
    const { root, submodules } = await fetchFrom('main');
    expect(submodules).toBe(2);
    expect(readFileSync(join(root, 'lib/in/ner/deep'), 'utf8')).toBe('deep');
    expect(existsSync(join(root, 'lib/.git'))).toBe(false);
  });

  it.each([
    ['file:///etc', 'gitfailure'],
    ['ext::sh -c touch% /tmp/never', 'gitfailure'],
    ['--upload-pack=touch', 'gitfailure'],
    ['http://inside.example/x', 'gitfailure'],
    ['../../../../x', 'gitfailure'],
  ])('refuses a submodule at %s', async (url, code) => {
    writeFileSync(join(base, 'app/.gitmodules'), `[submodule "lib"]\n\tpath = lib\n\turl = ${url}\n`);
    git('app', 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},lib`);
    git('app', 'add', '.gitmodules');
    git('app', 'commit', '-q', '-m', 'app');
    await expect(fetchFrom('main')).rejects.toMatchObject({ name: 'SourceError', code });
  });

  it('follows a redirect to another place, but to no forbidden one', async () => {
    const sha = commit('app', { Dockerfile: '1' });
    intercept = (request, response) => {
      const match = /^\/(moved|inside)\/(.*)$/.exec(request.url ?? '');
      if (match === null) return false;
      const host = match[1] === 'moved' ? origin : 'http://inside.example';
      response.writeHead(301, { location: `${host}/app/.git/${match[2]}` }).end();
      return true;
    };
    expect((await fetchFrom('main', { url: `${origin}/moved` })).commit).toBe(sha);
    await expect(fetchFrom('main', { url: `${origin}/inside` })).rejects.toMatchObject({
      code: 'gitfailure',
    });
  });

  it('uses credentials without showing them in any command line or message', async () => {
    commit('app', { Dockerfile: '1' });
    wantedAuthorization = `Basic ${Buffer.from('user:hunter2').toString('base64')}`;
    const url = `${origin.replace('://', '://user:hunter2@')}/app/.git`;
    const { lines } = await fetchFrom('main', { url });
    expect(
      seenCommandLines.some((line) => line.includes('git-remote-http') || line.includes('remote-http')),
    ).toBe(true);
    expect([...seenCommandLines, ...lines].filter((line) => line.includes('hunter2'))).toEqual([]);
    await expect(fetchFrom('main')).rejects.toMatchObject({ code: 'gitfailure' });
    await expect(fetchFrom('main', { url: url.replace('hunter2', 'secret9') })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.not.stringContaining('secret9'),
    });
  });

  it('gives a token to its own server only, and writes it nowhere', async () => {
    const token = 'tok-0123456789abcdef';
    repository('lib');
    const lib = commit('lib', { deep: 'deep' });
    wantedAuthorization = `Basic ${Buffer.from(`oauth2:${token}`).toString('base64')}`;
    const options = { credentials: { token }, keepGit: true };
    const withSubmodule = (url: string) => {
      writeFileSync(join(base, 'app/.gitmodules'), `[submodule "lib"]\n\tpath = lib\n\turl = ${url}\n`);
      git('app', 'update-index', '--add', '--cacheinfo', `160000,${lib},lib`);
      git('app', 'add', '.gitmodules');
      git('app', 'commit', '-q', '--allow-empty', '-m', 'app');
    };
    for (const url of ['../../lib/.git', `${origin}/lib/.git`]) {
      withSubmodule(url);
      const { root, lines } = await fetchFrom('main', options);
      expect(readFileSync(join(root, 'lib/deep'), 'utf8')).toBe('deep');
      const config = ['.git/config', 'lib/.git/config'].map((file) => readFileSync(join(root, file), 'utf8'));
      const seen = [...config, ...lines, ...seenCommandLines];
      for (const secret of [token, Buffer.from(`oauth2:${token}`).toString('base64')])
        expect(seen.filter((text) => text.includes(secret))).toEqual([]);
    }
    // The very same server by another name, which would let the token in.
    withSubmodule(`${origin.replace('git.example', 'other.example')}/lib/.git`);
    await expect(fetchFrom('main', options)).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('other.example'),
    });
    wantedAuthorization = `Basic ${Buffer.from(`kim:${token}`).toString('base64')}`;
    withSubmodule('../../lib/.git');
    expect((await fetchFrom('main', { ...options, username: 'kim' })).submodules).toBe(1);
  });

  it('takes a token to no other place that a repository has moved to', async () => {
    const sha = commit('app', { Dockerfile: '1' });
    const seen: (string | undefined)[] = [];
    intercept = (request, response) => {
      seen.push(request.headers.authorization);
      const match = /^\/moved\/(.*)$/.exec(request.url ?? '');
      if (match === null) return false;
      const there = origin.replace('git.example', 'other.example');
      response.writeHead(301, { location: `${there}/app/.git/${match[1]}` }).end();
      return true;
    };
    const moved = await fetchFrom('main', { url: `${origin}/moved`, credentials: { token: 'secret-token' } });
    expect(moved.commit).toBe(sha);
    expect(seen[0]).toMatch(/^Basic /);
    expect(seen.slice(1).filter((header) => header !== undefined)).toEqual([]);
  });

  it('limits how many submodules there are, and how deep', async () => {
    repository('lib');
    writeFileSync(join(base, 'lib/.gitmodules'), '[submodule "lib"]\n\tpath = lib\n\turl = ../../lib/.git\n');
    git('lib', 'add', '.gitmodules');
    git('lib', 'commit', '-q', '-m', 'first');
    // Each commit holds the one before as a submodule.
    for (let i = 0; i < 3; i++) {
      git('lib', 'update-index', '--add', '--cacheinfo', `160000,${git('lib', 'rev-parse', 'HEAD')},lib`);
      git('lib', 'commit', '-q', '-m', `${i}`);
    }
    const url = `${origin}/lib/.git`;
    expect((await fetchFrom('main', { url })).submodules).toBe(3);
    for (const submoduleLimits of [
      { deepest: 2, most: 200 },
      { deepest: 10, most: 2 },
    ])
      await expect(fetchFrom('main', { url, submoduleLimits })).rejects.toMatchObject({
        code: 'gitfailure',
        message: expect.stringContaining('submodules'),
      });
  });

  it('puts no submodule at a path that deceives', async () => {
    repository('lib');
    const lib = commit('lib', { deep: 'deep' });
    writeFileSync(
      join(base, 'app/.gitmodules'),
      `[submodule "a"]\n\tpath = "lib\r"\n\turl = ${origin}/lib/.git\n`,
    );
    git('app', 'add', '-A');
    git('app', 'update-index', '--add', '--cacheinfo', `160000,${lib},lib\r`);
    git('app', 'commit', '-q', '-m', 'app');
    await expect(fetchFrom('main')).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('control character'),
    });
  });

  it('tells a repository that cannot be cloned from a ref that is not there', async () => {
    commit('app', { Dockerfile: '1' });
    await expect(fetchFrom('main', { url: `${origin}/nowhere` })).rejects.toMatchObject({
      code: 'gitfailure',
      owner: 'user',
      message: expect.stringMatching(/^Could not clone git repository[\s\S]*fatal: /),
    });
    const gone = /^Could not checkout git ref\. If you force pushed recently, the commit may be missing\./;
    for (const ref of ['nope', 'refs/heads/nope', '1234567', 'a'.repeat(40)]) {
      await expect(fetchFrom(ref)).rejects.toMatchObject({
        code: 'gitcheckout',
        message: expect.stringMatching(gone),
      });
    }
  });

  it('refuses a host inside, whatever its name', async () => {
    for (const url of [
      'https://inside.example/x',
      'git@inside.example:x',
      'ssh://git@[::1]/x',
      'git@2130706434:x',
    ]) {
      const strict = new EgressGuard(new EgressPolicy(), async () => [{ address: '10.0.0.1', family: 4 }]);
      await expect(fetchFrom('main', { url, guard: strict })).rejects.toMatchObject({
        code: 'gitfailure',
        message: expect.stringContaining('may not reach'),
      });
    }
  });

  it('limits files and bytes before it writes them', async () => {
    commit('app', { a: 'x'.repeat(1000), b: 'y' });
    await expect(fetchFrom('main', { limits: { maxEntries: 1 } })).rejects.toMatchObject({
      code: 'sourcetoolarge',
    });
    await expect(fetchFrom('main', { limits: { maxBytes: 1000 } })).rejects.toMatchObject({
      code: 'sourcetoolarge',
    });
  });

  it('ends git when it is silent, takes too long or the build is cancelled', async () => {
    commit('app', { Dockerfile: '1' });
    const waiting: (() => void)[] = [];
    intercept = (request) => {
      if (request.method !== 'POST') return false;
      for (const wake of waiting.splice(0)) wake();
      return true;
    };
    await expect(fetchFrom('main', { idleTimeout: 700 })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('silent'),
    });
    await expect(fetchFrom('main', { totalTimeout: 700 })).rejects.toMatchObject({
      code: 'gitfailure',
      message: expect.stringContaining('longer than'),
    });
    const abort = new AbortController();
    waiting.push(() => abort.abort());
    await expect(fetchFrom('main', { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('runs nothing that the repository brings', async () => {
    const marker = join(base, 'marker');
    commit('app', {
      '.gitattributes': '* filter=evil diff=evil\n',
      '.gitconfig': `[filter "evil"]\n\tsmudge = touch ${marker}\n[core]\n\tfsmonitor = touch ${marker}\n`,
      'hooks/post-checkout': `#!/bin/sh\ntouch ${marker}\n`,
      Dockerfile: '1',
    });
    await fetchFrom('main', { keepGit: true });
    expect(existsSync(marker)).toBe(false);
  });
});
