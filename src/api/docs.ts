import { readFile } from 'node:fs/promises';
import Type from 'typebox';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { OpenApi } from './openapi.ts';

const files = {
  'docs.js': 'text/javascript; charset=utf-8',
  'docs.css': 'text/css; charset=utf-8',
} as const;

function isFile(text: string): text is keyof typeof files {
  return Object.hasOwn(files, text);
}

/** The API described for people and for programs. The page needs nothing from any other host. */
export function addDocsRoutes(api: Api, openApi: OpenApi): void {
  const read = (file: string) => readFile(new URL(`./docs/${file}`, import.meta.url));

  api.get(
    '/api/v1/openapi.json',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getOpenApi',
        summary: 'This API as an OpenAPI document',
        tags: ['documentation'],
        produces: ['application/json'],
      },
    },
    async (_request, reply) =>
      await reply
        .type('application/json; charset=utf-8')
        .header('cache-control', 'no-cache')
        .send(openApi.text()),
  );

  api.get(
    '/api/v1/docs',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getDocs',
        summary: 'This API as a page to browse',
        tags: ['documentation'],
        produces: ['text/html'],
      },
    },
    async (_request, reply) =>
      await reply
        .type('text/html; charset=utf-8')
        .header('cache-control', 'no-cache')
        .send(await read('docs.html')),
  );

  api.get(
    '/api/v1/docs/:file',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getDocsFile',
        summary: 'A part of the page',
        tags: ['documentation'],
        params: Type.Object({ file: Type.String() }),
        produces: Object.values(files),
      },
    },
    async (request, reply) => {
      const { file } = request.params;
      if (!isFile(file)) throw new ApiError('not_found', 'There is no such file.');
      return await reply
        .type(files[file])
        .header('cache-control', 'no-cache')
        .send(await read(file));
    },
  );
}
