import { Readable } from 'node:stream';
import Type from 'typebox';
import type { LogStore } from '../log/log-store.ts';
import { type BuildId, parseBuildId } from '../model/ids.ts';
import type { UrlSigner } from '../upload/url-signer.ts';
import type { Api } from './api.ts';
import { ApiError } from './api-error.ts';
import type { ApiDependencies } from './dependencies.ts';
import { signedQuery } from './filedrop.ts';

type Needs = Pick<ApiDependencies, 'queue' | 'logs' | 'links' | 'metrics'> & {
  /** Fires when the answers have to end. */
  readonly closing: AbortSignal;
};

const lifetime = 3_600_000;

function pathOf(buildId: BuildId): string {
  return `/logarchive/${buildId}`;
}

/** Where whoever has it may fetch the log as one document, for an hour. */
export function signedArchivePath(links: UrlSigner, buildId: BuildId): string {
  return links.sign({ method: 'GET', path: pathOf(buildId), maxSize: 0, lifetime });
}

export function addLogArchiveRoutes(api: Api, { queue, logs, links, metrics, closing }: Needs): void {
  api.get(
    '/logarchive/:build',
    {
      config: { access: 'signed-url' },
      exposeHeadRoute: false,
      schema: {
        operationId: 'getLogArchive',
        summary: 'The whole log of a build that is over, from the link of its log',
        tags: ['logs'],
        params: Type.Object({ build: Type.String() }),
        querystring: signedQuery,
        produces: ['application/json'],
      },
    },
    async (request, reply) => {
      const id = parseBuildId(request.params.build);
      if (id === undefined) throw new ApiError('not_found', 'There is no such log.');
      links.verify('GET', pathOf(id), request.query);
      if ((await queue.build(id)) === undefined) throw new ApiError('not_found', 'There is no such build.');
      const over = new AbortController();
      const document = Readable.from(wholeLog(logs, id, AbortSignal.any([over.signal, closing])), {
        objectMode: true,
        highWaterMark: 1,
      });
      document.on('data', (piece: Uint8Array) => metrics.logBytesSent.inc(piece.byteLength));
      document.once('close', () => over.abort());
      return await reply.type('application/json; charset=utf-8').send(document.pause());
    },
  );
}

/** `{start, total, logs}` in pieces, so that no log is in memory as a whole. */
async function* wholeLog(logs: LogStore, id: BuildId, signal: AbortSignal): AsyncGenerator<Buffer> {
  let begun = false;
  for await (const page of logs.tail(id, 0, signal)) {
    const before = begun ? ',' : `{"start":0,"total":${page.total},"logs":[`;
    if (page.count > 0) yield page.json(before, '');
    else if (!begun) yield Buffer.from(before);
    begun = true;
  }
  if (!begun || signal.aborted) throw new Error('the log ended before it was read');
  yield Buffer.from(']}');
}
