import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EgressError } from './egress-error.ts';
import { EgressGuard } from './egress-guard.ts';
import { type EgressOptions, EgressPolicy } from './egress-policy.ts';
import { checkGitHost, type GitUrl, parseGitUrl, resolveSubmoduleUrl } from './git-url.ts';

describe('checkGitHost', () => {
  const guard = (options: EgressOptions, address: string) =>
    new EgressGuard(new EgressPolicy(options), async () => [{ address, family: 4 }]);
  const http = parseGitUrl('http://git.example/app');

  it.each<[EgressOptions, string]>([
    [{ allowHosts: ['git.example'] }, '10.1.2.3'],
    [{ allowCidrs: ['10.1.0.0/16'] }, '10.1.2.3'],
    [{ allowHosts: ['git.example:80'] }, '93.184.216.34'],
  ])('takes http for a host that is listed: %j', async (options, address) => {
    await expect(checkGitHost(guard(options, address), http)).resolves.toEqual([address]);
  });

  it.each<[EgressOptions, string, RegExp]>([
    [{}, '93.184.216.34', /uses http.*use https or ssh/],
    [{ allowPrivate: true }, '10.1.2.3', /uses http/],
    [{ allowHosts: ['other.example'] }, '10.1.2.3', /may not reach/],
  ])('refuses http for any other: %j', async (options, address, message) => {
    await expect(checkGitHost(guard(options, address), http)).rejects.toMatchObject({
      name: 'EgressError',
      message: expect.stringMatching(message),
    });
  });

  it('takes https everywhere', async () => {
    const https = parseGitUrl('https://git.example/app');
    await expect(checkGitHost(guard({}, '93.184.216.34'), https)).resolves.toEqual(['93.184.216.34']);
  });
});

describe('parseGitUrl', () => {
  it.each<[string, Partial<GitUrl>]>([
    // git looks up what it is given: that has to be the name whose addresses are checked.
    ['https://Git.Example./team/app', { host: 'git.example', url: 'https://git.example/team/app' }],
    ['http://git.example.:8080/app', { host: 'git.example', url: 'http://git.example:8080/app' }],
    ['https://[::1]:8443/app', { host: '::1', url: 'https://[::1]:8443/app' }],
    ['ssh://git@git.example./app', { host: 'git.example', url: 'ssh://git@git.example:22/app' }],
    ['git@git.example.:app', { host: 'git.example', url: 'git@git.example:app' }],
    [
      'https://git.example/team/app.git',
      { scheme: 'https', host: 'git.example', port: 443, url: 'https://git.example/team/app.git' },
    ],
    ['https://GIT.example:8443/a', { port: 8443, url: 'https://git.example:8443/a' }],
    ['https://user:to%2Fken@git.example/a', { url: 'https://git.example/a', credentials: 'user:to/ken' }],
    ['http://git.example/app', { scheme: 'http', port: 80, url: 'http://git.example/app' }],
    ['ssh://git@git.example/a.git', { scheme: 'ssh', port: 22, url: 'ssh://git@git.example:22/a.git' }],
    ['ssh://git@git.example:2222/~me/a.git', { port: 2222, url: 'ssh://git@git.example:2222/~me/a.git' }],
    [
      'git@git.example:team/app.git',
      { scheme: 'ssh', host: 'git.example', port: 22, url: 'git@git.example:team/app.git' },
    ],
    ['git.example:app.git', { scheme: 'ssh', url: 'git.example:app.git' }],
    ['ssh://git@[2001:db8::1]/a', { host: '2001:db8::1', url: 'ssh://git@[2001:db8::1]:22/a' }],
  ])('reads %s', (text, expected) => {
    expect(parseGitUrl(text)).toMatchObject(expected);
  });

  it.each([
    '',
    '/srv/git/app',
    './app',
    '../app',
    'file:///srv/git/app',
    'git://git.example/app',
    'ftp://git.example/app',
    'ext::sh -c touch% /tmp/x',
    'ext::sh',
    'fd::17/foo',
    'transport::https://git.example/app',
    '--upload-pack=touch /tmp/x',
    '-oProxyCommand=touch',
    '-oProxyCommand=x:y',
    'ssh://-oProxyCommand=touch/x',
    'ssh://%2doProxyCommand=touch/x',
    'ssh://git@-oProxyCommand=touch/x',
    'ssh://-l@git.example/x',
    '-l@git.example:x',
    'git@-oProxyCommand:x',
    'git@git.example:-x',
    'ssh://git@git.example/-x',
    'ssh://git@git.example/%2dx',
    'ssh://git:pw@git.example/x',
    'https://git.example/a\nb',
    'https://git.example/a%0ab',
    'https://git.example/a b',
    'https://git.example/',
    'https://git.example/a?x=1',
    'https://git.example/a#x',
    'https://git.example/%zz',
    'C:\\repo',
    `https://git.example/${'a'.repeat(3000)}`,
  ])('refuses %s', (text) => {
    expect(() => parseGitUrl(text)).toThrow(
      expect.objectContaining({ name: 'EgressError', code: 'bad-url' }),
    );
  });

  it('gives nothing that begins with a dash or names another helper, whatever it reads', () => {
    const piece = fc.constantFrom(
      '-',
      '--x',
      'git@',
      'ssh://',
      'https://',
      'ext::',
      '%2d',
      'h.example',
      ':',
      '/',
      'a',
      '..',
      '\n',
      '[',
      ']',
      '@',
      ':22',
      '%0a',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece, { maxLength: 8 }).map((parts) => parts.join('')),
        ),
        (text) => {
          let git: GitUrl;
          try {
            git = parseGitUrl(text);
          } catch (error) {
            expect(error).toBeInstanceOf(EgressError);
            return;
          }
          expect(git.url).toMatch(
            git.scheme === 'ssh'
              ? /^(ssh:\/\/)?(\w[\w.+@-]*@)?([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?[:/]/
              : /^https?:\/\/[^/@]+\//,
          );
          expect(git.host).toMatch(/^[0-9a-z_:]/);
          expect(git.url).not.toMatch(/[\0-\x20\x7f]/);
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe('resolveSubmoduleUrl', () => {
  const https = parseGitUrl('https://u:p@git.example/team/app.git');
  const scp = parseGitUrl('git@git.example:team/app.git');
  it.each([
    [https, '../lib.git', 'https://git.example/team/lib.git'],
    [https, './sub', 'https://git.example/team/app.git/sub'],
    [https, '../../other/lib', 'https://git.example/other/lib'],
    [https, 'https://else.example/x', 'https://else.example/x'],
    [scp, '../lib.git', 'git@git.example:team/lib.git'],
    [
      parseGitUrl('ssh://git@git.example/my%41/x%20y.git'),
      '../lib.git',
      'ssh://git@git.example:22/my%41/lib.git',
    ],
    [parseGitUrl('https://git.example/a%2520b/x'), '../y', 'https://git.example/a%2520b/y'],
  ])('%#: %s', (parent, url, expected) => {
    expect(resolveSubmoduleUrl(parent, url).url).toBe(expected);
  });

  it('hands credentials to the same host only', () => {
    expect(resolveSubmoduleUrl(https, '../lib.git').credentials).toBe('u:p');
    expect(resolveSubmoduleUrl(https, 'https://else.example/x').credentials).toBeUndefined();
  });

  it.each(['../../../x', '../../../../else.example/x', 'file:///etc', '/etc', '-x', 'ext::sh'])(
    'refuses %s',
    (url) => {
      expect(() => resolveSubmoduleUrl(https, url)).toThrow(EgressError);
    },
  );
});
