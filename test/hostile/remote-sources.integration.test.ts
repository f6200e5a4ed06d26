import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SlipwayServer } from '../harness/slipway-server.ts';
import { build, buildBase, requestBuild } from './hostile-build.ts';

const run = promisify(execFile);

/**
 * Sources that a server fetches because a user said so: from a web server and a real git repository on this machine,
 * which one server may reach and the other may not.
 */
let folder: string;
let web: Server;
let origin: string;
let open: SlipwayServer;
let base: string;
/** Requests that reached the web server, by their path. */
const reached: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-remote-'));
  web = createServer((request, response) => void answer(request, response));
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  origin = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  open = await SlipwayServer.start(['--workers', '3', '--retry-delay', '0', '--allow-private', '127.0.0.1']);
  await open.becomeUser('remote');
  base = await buildBase(open, 'remote/base');
});

afterAll(async () => {
  await open?.dispose();
  web?.closeAllConnections();
  web?.close();
  await rm(folder, { recursive: true, force: true });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '/';
  reached.push(path);
  if (path.startsWith('/git/')) return gitBackend(request, response);
  switch (path.split('?')[0]) {
    case '/Dockerfile':
      response.setHeader('content-type', 'text/plain');
      response.end(`FROM ${base}\nRUN echo it was fetched\n`);
      return;
    case '/slow': {
      const text = `FROM ${base}\nRUN echo it came slowly\n`;
      response.setHeader('content-type', 'text/plain');
      for (const character of text) {
        response.write(character);
        await sleep(30);
      }
      response.end();
      return;
    }
    case '/page':
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Sign in</title>');
      return;
    case '/huge':
      response.setHeader('content-length', String(20 * 1024 ** 3));
      response.write('FROM');
      return;
    case '/to-metadata':
      response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end();
      return;
    case '/to-other-loopback':
      response.writeHead(302, { location: origin.replace('127.0.0.1', '127.0.0.2') }).end();
      return;
    case '/to-file':
      response.writeHead(302, { location: 'file:///etc/passwd' }).end();
      return;
    case '/round':
      response.writeHead(302, { location: '/round' }).end();
      return;
    default:
      response.writeHead(404).end('no such thing');
  }
}

/** git's own CGI program, as any web server runs it. */
function gitBackend(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? '/', origin);
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: join(folder, 'git'),
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'safe.directory',
      GIT_CONFIG_VALUE_0: '*',
      PATH_INFO: url.pathname.slice('/git'.length),
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  request.pipe(child.stdin);
  child.stdin.on('error', () => {});
  let head = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    if (response.headersSent) {
      response.write(chunk);
      return;
    }
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) return;
    for (const line of head.toString('latin1', 0, end).split('\r\n')) {
      const [name = '', value = ''] = line.split(': ');
      if (name.toLowerCase() === 'status') response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.write(head.subarray(end + 4));
  });
  child.stdout.on('end', () => response.end());
}

async function refusal(server: SlipwayServer, body: Record<string, unknown>): Promise<[number, string]> {
  const response = await requestBuild(server, 'remote/refused', body);
  return [response.status, ((await response.json()) as { error_message: string }).error_message];
}

describe('an archive URL', () => {
  test('leads to a build', async () => {
    const { view, text } = await build(open, 'remote/fetched', { archive_url: `${origin}/Dockerfile?x=1` });
    expect(view.phase, text).toBe('complete');
    expect(text).toMatch(/^it was fetched$/m);
  });

  test('leads to a build although its server sends a byte at a time', async () => {
    const { view, text } = await build(open, 'remote/slow', { archive_url: `${origin}/slow` });
    expect(view.phase, text).toBe('complete');
    expect(text).toMatch(/^it came slowly$/m);
  });

  test.each([
    ['ftp://example.com/x', /must be an http or https URL/],
    ['file:///etc/passwd', /must be an http or https URL/],
    ['gopher://127.0.0.1/', /must be an http or https URL/],
    ['http://', /cannot be parsed/],
    ['http://user:password@example.com/x', /user name or password/],
    ['http://169.254.169.254/latest/meta-data/', /link-local|metadata/],
    ['http://[::ffff:169.254.169.254]/', /may not reach/],
    ['http://2852039166/latest/', /may not reach/],
    ['http://10.0.0.1/', /private address/],
    ['http://127.0.0.2/', /loopback address/],
    ['http://[::1]/', /loopback address/],
  ])('%s is refused when it is asked for', async (archive_url, message) => {
    expect(await refusal(open, { archive_url })).toEqual([400, expect.stringMatching(message)]);
  });

  test.concurrent.each([
    ['/nothing', 'archivefetch', /answered 404 Not Found/],
    ['/page', 'cannotextractbuildpack', /content type is "text\/html"/],
    ['/huge', 'sourcetoolarge', /larger than 10737418240 bytes/],
    [
      '/to-metadata',
      'archivefetch',
      /169\.254\.169\.254 is a .* address, which URLs given by users may not reach/,
    ],
    ['/to-other-loopback', 'archivefetch', /127\.0\.0\.2 is a loopback address/],
    ['/to-file', 'archivefetch', /scheme of file:\/\/.* is not allowed/],
    ['/round', 'archivefetch', /redirects too often/],
  ])('%s ends in %s', async (path, code, message) => {
    const { view, text } = await build(open, `remote${path}`, { archive_url: `${origin}${path}` });
    expect([view.phase, view.error_code, view.error], text).toEqual([
      'error',
      code,
      expect.stringMatching(message),
    ]);
  });

  test('reaches nothing on this machine without a list', async () => {
    const strict = await SlipwayServer.start(['--workers', '1']);
    try {
      await strict.becomeUser('remote');
      const before = reached.length;
      const port = new URL(origin).port;
      for (const host of ['127.0.0.1', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '0', '127.0.0.1.'])
        expect(await refusal(strict, { archive_url: `http://${host}:${port}/Dockerfile` }), host).toEqual([
          400,
          expect.stringMatching(/may not reach/),
        ]);
      // A name is looked up by the worker, which connects to what it has checked.
      const { view } = await build(strict, 'remote/by-name', {
        archive_url: `http://localhost:${port}/Dockerfile`,
      });
      expect([view.phase, view.error_code]).toEqual(['error', 'archivefetch']);
      expect(view.error).toMatch(/localhost \(.*\) is a loopback address/);
      const git = await build(strict, 'remote/git-by-name', {
        git: { url: `http://localhost:${port}/git/app` },
      });
      expect([git.view.phase, git.view.error_code]).toEqual(['error', 'gitfailure']);
      expect(git.view.error).toMatch(/may not reach/);
      expect(reached.slice(before)).toEqual([]);
    } finally {
      await strict.dispose();
    }
  });
});

describe('a git repository', () => {
  let first: string;

  beforeAll(async () => {
    const repository = join(folder, 'git', 'app');
    const git = async (...args: string[]) =>
      (
        await run('git', ['-C', repository, '-c', 'user.name=t', '-c', 'user.email=t@example', ...args])
      ).stdout.trim();
    await run('git', ['init', '-q', '-b', 'main', repository]);
    const commit = async (word: string) => {
      await writeFile(join(repository, 'Dockerfile'), `FROM ${base}\nRUN echo this is ${word}\n`);
      await git('add', '-A');
      await git('commit', '-q', '-m', word);
      return await git('rev-parse', 'HEAD');
    };
    first = await commit('the-first');
    await git('tag', 'v1');
    await git('checkout', '-q', '-b', 'feature/x');
    await commit('the-feature');
    await git('checkout', '-q', 'main');
    await commit('the-newest');
    await chmod(folder, 0o755);
  });

  test.concurrent.each([
    ['the default branch', {}, 'the-newest'],
    ['a branch', { ref: 'feature/x' }, 'the-feature'],
    ['a full ref', { ref: 'refs/heads/feature/x' }, 'the-feature'],
    ['a tag', { ref: 'v1' }, 'the-first'],
  ])('is built at %s', async (what, at, word) => {
    const { view, text } = await build(open, `remote/git-${what.replaceAll(' ', '-')}`, {
      git: { url: `${origin}/git/app`, ...at },
      no_cache: true,
    });
    expect(view.phase, `${view.error}\n${text}`).toBe('complete');
    expect(text).toMatch(new RegExp(`^this is ${word}$`, 'm'));
  });

  test('is built at a commit', async () => {
    const { view, text } = await build(open, 'remote/git-sha', {
      git: { url: `${origin}/git/app`, sha: first },
    });
    expect(view.phase, `${view.error}\n${text}`).toBe('complete');
    expect(text).toMatch(/^this is the-first$|Using cache/m);
    expect(view.display_name).toBe(first.slice(0, 7));
  });

  test.concurrent.each([
    [
      'a branch that is not there',
      { url: '/git/app', ref: 'nope' },
      'gitcheckout',
      /Could not checkout git ref[\s\S]*"nope"/,
    ],
    [
      'a commit that is not there',
      { url: '/git/app', sha: 'a'.repeat(40) },
      'gitcheckout',
      /Could not checkout git ref/,
    ],
    [
      'a repository that is not there',
      { url: '/git/nothing' },
      'gitfailure',
      /Could not clone git repository http.*\/git\/nothing/,
    ],
    [
      'something that is no repository',
      { url: '/Dockerfile' },
      'gitfailure',
      /Could not clone git repository/,
    ],
  ])('%s', async (what, { url, ...at }, code, message) => {
    const { view, text } = await build(open, `remote/${what.replaceAll(' ', '-')}`, {
      git: { url: origin + url, ...at },
    });
    expect([view.phase, view.error_code], text).toEqual(['error', code]);
    expect(view.error).toMatch(message);
  });

  test.each([
    [{ url: 'file:///etc' }],
    [{ url: '/etc' }],
    [{ url: 'ext::sh -c id' }],
    [{ url: '--upload-pack=id' }],
    [{ url: '-oProxyCommand=id' }],
    [{ url: 'ssh://-oProxyCommand=id/x' }],
    [{ url: 'git://127.0.0.1/x' }],
    [{ url: 'http://169.254.169.254/x' }],
    [{ url: 'https://user:password@example.com/x' }],
    [{ url: 'https://example.com/x', ref: '--upload-pack=id' }],
    [{ url: 'https://example.com/x', ref: '-oProxyCommand=id' }],
    [{ url: 'https://example.com/x', ref: 'a..b' }],
    [{ url: 'https://example.com/x', ref: 'a b' }],
    [{ url: 'https://example.com/x', sha: 'HEAD' }],
    [{ url: 'https://example.com/x', sha: '--help' }],
    [{ ref: 'main' }],
  ])('%j is refused when it is asked for', async (git) => {
    const [status, message] = await refusal(open, { git });
    expect(status).toBe(400);
    expect(message.length).toBeGreaterThan(20);
  });
});
