import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redactGitUrl, redactUrl, redactUrlsIn } from './redact-url.ts';

describe('redactUrl', () => {
  it.each([
    [
      'https://u:p@example.com:8443/a/b?token=x&sig=y#frag',
      'https://example.com:8443/a/b?token=REDACTED&sig=REDACTED',
    ],
    ['https://example.com/a.tar.gz', 'https://example.com/a.tar.gz'],
    ['ssh://git:pw@example.com/x.git', 'ssh://example.com/x.git'],
    ['git@example.com:team/app.git', 'git@example.com:team/app.git'],
    ['git:pw@example.com:team/app.git', 'git:REDACTED'],
    ['data:text/plain,secret', 'data:REDACTED'],
    ['not a url at all', '<not a URL>'],
    ['https://u:hunter2@example.com:99999/', '<not a URL>'],
    ['https://u:hunter2@[::1/', '<not a URL>'],
    ['https://:hunter2@/x', '<not a URL>'],
    ['ssh://git:hunter2@example.com:port/x', '<not a URL>'],
    ['postgresql://u:hunter2@db:port/x', '<not a URL>'],
    ['file://u:hunter2@h/x', '<not a URL>'],
    ['//u:hunter2@h/x', '<not a URL>'],
    ['blob:https://u:hunter2@h/x', 'blob:REDACTED'],
    ['ext::sh -c hunter2', 'ext:REDACTED'],
  ])('%s', (url, expected) => {
    expect(redactUrl(url)).toBe(expected);
  });

  it('never shows a user name, password, query value or fragment', () => {
    const secret = fc.stringMatching(/^zq[a-z0-9]{6,20}$/);
    fc.assert(
      fc.property(secret, fc.constantFrom('https', 'http', 'ssh', 'git', 'ftp'), (word, scheme) => {
        const url = `${scheme}://${word}:${word}@example.com/path?a=${word}&b=${word}#${word}`;
        expect(redactUrl(url)).not.toContain(word);
        expect(redactUrlsIn(`fatal: unable to access '${url}': nope (${url}).`)).not.toContain(word);
      }),
    );
  });

  it.each([
    'https://u:hunter2@example.com:99999/',
    'https://u:hunter2@[::1/',
    'https://u:hunter2@exa mple.com/',
    'https:u:hunter2@h/x',
    'u:hunter2@h:x',
    '//u:hunter2@h/x',
    'http:\\\\u:hunter2@h\\x',
  ])('hides the password in a text, though %s is no URL', (text) => {
    for (const line of [text, `fatal: '${text}' is no repository`, `see ${text}, or not`])
      expect(redactUrlsIn(line)).not.toContain('hunter2');
  });

  it('never shows a password, whatever stands around it', () => {
    const part = fc.stringMatching(/^[a-z0-9:.[\]?#-]{0,12}$/);
    fc.assert(
      fc.property(
        fc.constantFrom('https', 'ssh', 'git+ssh', 'file', 'x'),
        part,
        part,
        (scheme, host, path) => {
          const url = `${scheme}://u:hunter2@${host}/${path}`;
          expect(redactUrl(url)).not.toContain('hunter2');
          expect(redactUrlsIn(`at ${url} it failed`)).not.toContain('hunter2');
        },
      ),
    );
  });

  it('keeps the words around a URL', () => {
    expect(
      redactUrlsIn("fatal: unable to access 'https://u:p@h.example/x.git/': refused, see https://a.b/c."),
    ).toBe("fatal: unable to access 'https://h.example/x.git/': refused, see https://a.b/c.");
  });
});

it.each([
  ['git@example.com:a/b.git', 'git@example.com:a/b.git'],
  ['ssh://git@example.com/a/b.git', 'ssh://git@example.com/a/b.git'],
  ['ssh://git:hunter2@example.com/a', 'ssh://example.com/a'],
  ['https://kim:hunter2@10.0.0.1/a', 'https://10.0.0.1/a'],
])('of the git URL %s there remains %s', (url, shown) => {
  expect(redactGitUrl(url)).toBe(shown);
});
