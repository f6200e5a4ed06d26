import Fastify from 'fastify';
import { expect, test } from 'vitest';
import { OpenApi } from './openapi.ts';

const answer = async () => 'all';

/** Tests go through every route by the document: one that is not in it would be tried by none. */
test('a route that would not be in the document cannot be added', async () => {
  await using api = Fastify();
  const openApi = new OpenApi('1.0.0');
  openApi.watch(api as never);
  expect(() => api.get('/api/v1/hidden', { config: { access: 'public' } }, answer)).toThrow(
    'route GET /api/v1/hidden has no schema',
  );
  expect(() => api.get('/api/v1/nobody', { schema: {} }, answer)).toThrow('route GET /api/v1/nobody');
  api.get('/api/v1/shown', { config: { access: 'public' }, schema: {} }, answer);
  expect(Object.keys(openApi.document().paths as object)).toEqual(['/api/v1/shown']);
});
