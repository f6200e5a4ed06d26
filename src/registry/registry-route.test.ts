import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { actionsFor, parseRegistryRoute } from './registry-route.ts';

const digest = `sha256:${'0a'.repeat(32)}`;

describe('parseRegistryRoute', () => {
  test.each([
    ['/v2', { kind: 'base' }],
    ['/v2/', { kind: 'base' }],
    ['/v2/_catalog', { kind: 'catalog' }],
    ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
    ['/v2/a/b/manifests/v1', { kind: 'manifest', repository: 'a/b', reference: 'v1' }],
    [`/v2/a/b/manifests/${digest}`, { kind: 'manifest', repository: 'a/b', reference: digest }],
    [
      `/v2/a/b/manifests/${digest.replace(':', '%3A')}`,
      { kind: 'manifest', repository: 'a/b', reference: digest },
    ],
    [`/v2/a/b/blobs/${digest}`, { kind: 'blob', repository: 'a/b', digest }],
    ['/v2/a/b/blobs/uploads/', { kind: 'upload', repository: 'a/b' }],
    ['/v2/a/b/blobs/uploads/0-9_x.=', { kind: 'upload', repository: 'a/b', id: '0-9_x.=' }],
    [`/v2/a/b/referrers/${digest}`, { kind: 'referrers', repository: 'a/b', digest }],
    ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list' }],
    ['/v2/a/blobs/uploads/manifests/x', { kind: 'manifest', repository: 'a/blobs/uploads', reference: 'x' }],
  ])('%s', (path, route) => {
    expect(parseRegistryRoute(path)).toEqual(route);
  });

  test('never lets a name through that the grammar does not have', () => {
    const piece = fc.constantFrom(
      'a',
      '..',
      '.',
      '',
      '%2e%2e',
      '%2f',
      '%00',
      'manifests',
      'tags',
      'list',
      'blobs',
      'uploads',
      'x',
      digest,
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const route = parseRegistryRoute(`/v2/${pieces.join('/')}`);
        if (route === undefined || !('repository' in route)) return;
        expect(route.repository).toMatch(/^[a-z0-9]+(?:\/[a-z0-9]+)*$/);
      }),
      { numRuns: 3000 },
    );
  });
});

test('reading needs pull, writing pull and push, deleting delete', () => {
  expect(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', ''].map(actionsFor)).toEqual([
    ['pull'],
    ['pull'],
    ['pull', 'push'],
    ['pull', 'push'],
    ['pull', 'push'],
    ['delete'],
    undefined,
    undefined,
  ]);
});
