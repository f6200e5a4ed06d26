import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import Type from 'typebox';
import { parseAttemptId, parseUploadId, type UploadId } from '../model/ids.ts';
import type { PackageHolder } from '../upload/uploads.ts';
import { accountName, requireAccount } from './access.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';

type Needs = Pick<ApiDependencies, 'uploads' | 'queue' | 'metrics' | 'options'>;

const tags = ['files'];
const params = Type.Object({ file: Type.String() });
const packageParams = Type.Object({
  file: Type.String(),
  attempt: Type.String({ description: 'The id of an attempt' }),
  epoch: Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }),
});
export const signedQuery = Type.Object({
  expires: Type.Integer({ minimum: 0 }),
  max: Type.Integer({ minimum: 0 }),
  signature: Type.String({ maxLength: 100 }),
});

export function addFiledropRoutes(api: Api, { uploads, queue, metrics, options }: Needs): void {
  api.post(
    '/api/v1/filedrop',
    {
      config: { access: 'account' },
      schema: {
        operationId: 'getFiledropUrl',
        summary: 'Get a URL to upload a file to: a Dockerfile, tar, tar.gz or zip',
        description: `PUT the bytes to the URL, then build with the file_id. A file may have ${uploads.limit} bytes. The URL is good for an hour.`,
        tags,
        body: Type.Object({ mimeType: Type.String({ maxLength: 255 }) }, { title: 'FileDropRequest' }),
        response: { 200: Type.Object({ url: Type.String(), file_id: Type.String() }) },
      },
    },
    async (request) => {
      const username = accountName(requireAccount(request.principal));
      const { id, url } = await uploads.create(username, request.body.mimeType);
      return { url: `${options.publicOrigin(request.raw)}${url}`, file_id: id };
    },
  );

  api.get(
    '/userfiles/:file/:attempt/:epoch',
    {
      config: { access: 'signed-url' },
      schema: {
        operationId: 'getUserFile',
        summary: 'An uploaded file, for the worker that builds it, as long as its attempt is current',
        tags,
        params: packageParams,
        querystring: signedQuery,
        headers: Type.Object({ range: Type.Optional(Type.String()) }),
      },
      exposeHeadRoute: false,
    },
    async (request, reply) => {
      const start = Number(/^bytes=(\d{1,15})-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const { file: id, attempt, epoch } = request.params;
      const attemptId = parseAttemptId(attempt);
      if (attemptId === undefined) throw noFile();
      const isCurrent = async (holder: PackageHolder) => {
        const current = await queue.isCurrent(holder.attemptId, holder.epoch);
        if (!current) metrics.epochsRefused.inc({ reason: 'source' });
        return current;
      };
      const holder = { attemptId, epoch };
      const file = await uploads.open(fileOf(id), holder, request.query, isCurrent, start);
      const partial = start > 0 && start < file.size;
      return await reply
        .status(partial ? 206 : 200)
        .headers({
          'content-type': file.mimeType,
          'content-length': String(file.size - (partial ? start : 0)),
          'content-disposition': 'attachment',
          etag: `"${file.sha256}"`,
          'accept-ranges': 'bytes',
          ...(partial ? { 'content-range': `bytes ${start}-${file.size - 1}/${file.size}` } : {}),
        })
        .send(file.stream);
    },
  );

  // Bodies of this one are files of any type: they are streamed, and not parsed.
  api.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, _payload, done) => done(null));
    (scope as Api).put(
      '/userfiles/:file',
      {
        config: { access: 'signed-url' },
        // The type was given when the URL was asked for; whatever the client says here, bytes are bytes.
        onRequest: async (request) => {
          request.raw.headers['content-type'] = 'application/octet-stream';
        },
        schema: {
          operationId: 'putUserFile',
          summary: 'Upload a file to a URL of POST /api/v1/filedrop/',
          tags,
          params,
          querystring: signedQuery,
          response: {
            200: Type.Object({ file_id: Type.String(), size: Type.Integer(), checksum: Type.String() }),
          },
        },
      },
      async (request) => {
        const id = fileOf(request.params.file);
        const limit = await uploads.mayPut(id, request.query);
        if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
        const stored = await uploads.put(id, bodyOf(request.raw), limit);
        metrics.uploadBytes.inc(stored.size);
        return { file_id: stored.id, size: stored.size, checksum: stored.sha256 };
      },
    );
  });
}

/**
 * The body as a stream of its own: a store that gives up destroys what it reads from, and the connection is still
 * needed for the answer. A client that hangs up in the middle breaks it off.
 */
function bodyOf(incoming: IncomingMessage): Readable {
  const body = new PassThrough();
  incoming.once('close', () => {
    if (!incoming.complete) body.destroy(new Error('the connection was closed'));
  });
  body.once('close', () => incoming.unpipe(body));
  return incoming.pipe(body);
}

function tooLarge(limit: number): ApiError {
  return new ApiError(
    'too_large',
    `The file is larger than the ${limit} bytes that are allowed. Leave out what the build does not need (.dockerignore), or ask an administrator to raise the limit.`,
  );
}

function fileOf(text: string): UploadId {
  const id = parseUploadId(text);
  if (id === undefined) throw noFile();
  return id;
}

function noFile(): ApiError {
  return new ApiError('not_found', 'There is no such file.');
}
