import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatImageReference,
  type ImageReference,
  isRegistryHost,
  isRepositoryPath,
  manifestReference,
  parseImageReference,
} from './image-reference.ts';

const sha = `sha256:${'ab'.repeat(32)}`;

describe('parseImageReference', () => {
  test.each([
    ['busybox', 'docker.io', 'library/busybox', undefined, undefined],
    ['busybox:1.36', 'docker.io', 'library/busybox', '1.36', undefined],
    ['team/app', 'docker.io', 'team/app', undefined, undefined],
    ['docker.io/busybox', 'docker.io', 'library/busybox', undefined, undefined],
    ['index.docker.io/team/app:x', 'docker.io', 'team/app', 'x', undefined],
    ['localhost/app', 'localhost', 'app', undefined, undefined],
    ['127.0.0.1:8080/ns/repo:tag', '127.0.0.1:8080', 'ns/repo', 'tag', undefined],
    ['[::1]:5000/ns/repo', '[::1]:5000', 'ns/repo', undefined, undefined],
    ['Registry/app', 'Registry', 'app', undefined, undefined],
    ['quay.example/a/b/c__d--e.f:T_1', 'quay.example', 'a/b/c__d--e.f', 'T_1', undefined],
    [`r.example:1/a@${sha}`, 'r.example:1', 'a', undefined, sha],
    [`r.example/a:t@${sha}`, 'r.example', 'a', 't', sha],
    ['host:80', 'docker.io', 'library/host', '80', undefined],
  ])('%s', (text, registry, repository, tag, digest) => {
    const parsed = parseImageReference(text);
    expect(parsed).toMatchObject({ original: text, registry, repository });
    expect(parsed?.tag).toBe(tag);
    expect(parsed?.digest).toBe(digest);
  });

  test.each([
    '',
    'UPPER',
    'r.example/Upper',
    'a//b',
    '/a',
    'a/',
    'a:',
    'a:-tag',
    `a:${'t'.repeat(129)}`,
    'a@sha256:short',
    'a@',
    `a@${sha}@${sha}`,
    'a___b',
    'a/-b',
    'r.example:port/a',
    '-bad-.example/a',
    'scratch image',
    'ab'.repeat(32),
    `r.example/${'a'.repeat(250)}`,
    'https://r.example/a',
    'a\n',
  ])('refuses %j', (text) => {
    expect(parseImageReference(text)).toBeUndefined();
  });

  const component = fc.stringMatching(/^[a-z0-9]{1,6}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}$/);
  const reference = fc
    .record({
      registry: fc.oneof(
        fc.stringMatching(/^[a-z0-9]{1,8}\.[a-z]{2,5}(?::[0-9]{1,5})?$/),
        fc.constantFrom('localhost', '[::1]:5000', 'docker.io'),
      ),
      parts: fc.array(component, { minLength: 2, maxLength: 4 }),
      tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/), { nil: undefined }),
      digest: fc.option(
        fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}`),
        { nil: undefined },
      ),
    })
    .map(({ registry, parts, tag, digest }) => ({ registry, repository: parts.join('/'), tag, digest }));

  test('gives back every part of what was formatted', () => {
    fc.assert(
      fc.property(reference, (parts) => {
        const text = formatImageReference(parts as Omit<ImageReference, 'original'>);
        const parsed = parseImageReference(text);
        expect(parsed).toMatchObject({
          original: text,
          registry: parts.registry,
          repository: parts.repository,
        });
        expect(parsed?.tag).toBe(parts.tag);
        expect(parsed?.digest).toBe(parts.digest);
      }),
    );
  });

  test('whatever parses formats to something that parses to the same parts', () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .array(fc.constantFrom('a', 'b0', '/', ':', '@', '.', '-', '_', 'A', 'localhost', sha), {
          maxLength: 9,
        })
        .map((pieces) => pieces.join('')),
    );
    fc.assert(
      fc.property(text, (input) => {
        const parsed = parseImageReference(input);
        if (parsed === undefined) return;
        expect(isRegistryHost(parsed.registry)).toBe(true);
        expect(isRepositoryPath(parsed.repository)).toBe(true);
        const canonical = formatImageReference(parsed);
        expect(parseImageReference(canonical)).toEqual({ ...parsed, original: canonical });
      }),
      { numRuns: 2000 },
    );
  });
});

test('a digest is asked for before a tag, and a tag before latest', () => {
  const asked = (text: string) => manifestReference(parseImageReference(text) ?? {});
  expect(asked(`a:t@${sha}`)).toBe(sha);
  expect(asked('a:t')).toBe('t');
  expect(asked('a')).toBe('latest');
});
