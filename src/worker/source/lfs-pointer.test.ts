import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseBatch, parseLfsServer } from './lfs-answer.ts';
import { parseLfsPointer } from './lfs-pointer.ts';

const oid = 'ab'.repeat(32);
const version = 'version https://git-lfs.github.com/spec/v1\n';

it('reads a pointer', () => {
  expect(parseLfsPointer(`${version}oid sha256:${oid}\nsize 12\n`)).toEqual({ oid, size: 12 });
  expect(parseLfsPointer(`${version}ext-0-foo sha256:${oid}\noid sha256:${oid}\nsize 0\n`)).toEqual({
    oid,
    size: 0,
  });
});

it.each([
  '',
  `oid sha256:${oid}\nsize 12\n`,
  `${version}oid sha256:${oid}\nsize 12`,
  `${version}oid sha256:${oid}\n`,
  `${version}oid sha1:${oid}\nsize 12\n`,
  `${version}oid sha256:${oid}\nsize -1\n`,
  `${version}oid sha256:../../${oid}\nsize 1\n`,
  `${version}oid sha256:${oid}\nsize 1\nsize 2\n`,
  `${version}oid sha256:${oid}\nsize 1e3\n`,
  `version https://evil.example/spec\noid sha256:${oid}\nsize 12\n`,
  `${version}${'x y\n'.repeat(400)}oid sha256:${oid}\nsize 12\n`,
])('takes no other text for one: %#', (text) => expect(parseLfsPointer(text)).toBeUndefined());

it('never throws, whatever a repository or a server says', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.string().map((rest) => version + rest),
      ),
      (text) => {
        parseLfsPointer(text);
        parseBatch(text);
        parseLfsServer(text);
      },
    ),
  );
});

it('takes no header from a server that belongs to the connection or holds another line', () => {
  const header = {
    Host: 'x',
    'Content-Length': '1',
    Authorization: 'a b',
    'X-Bad': 'a\r\nb',
    'X Y': 'z',
    __proto__: 'x',
  };
  expect(parseLfsServer(JSON.stringify({ href: 'https://lfs.example', header }))).toEqual({
    href: 'https://lfs.example',
    headers: { authorization: 'a b' },
  });
});
