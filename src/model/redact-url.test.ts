import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { redactUrl, redactUrlsIn } from './redact-url.ts';

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

  it('keeps the words around a URL', () => {
    expect(
      redactUrlsIn("fatal: unable to access 'https://u:p@h.example/x.git/': refused, see https://a.b/c."),
    ).toBe("fatal: unable to access 'https://h.example/x.git/': refused, see https://a.b/c.");
  });
});
