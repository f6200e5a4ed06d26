import { Readable } from 'node:stream';
import Type from 'typebox';
import { isFinal } from '../model/phase.ts';
import { repositoryOf } from './access.ts';
import type { Api } from './api.ts';
import { BuildTriggers } from './build-triggers.ts';
import { buildOf } from './builds.ts';
import type { ApiDependencies } from './dependencies.ts';
import { signedArchivePath } from './log-archive.ts';
import { logEvents } from './log-events.ts';
import { buildParams } from './repository-path.ts';

type Needs = Pick<
  ApiDependencies,
  'queue' | 'triggers' | 'logs' | 'links' | 'clock' | 'metrics' | 'options'
> & {
  /** Fires when the streams have to end. */
  readonly closing: AbortSignal;
};

const tags = ['logs'];
/** Entries in one answer at most; clients ask again from where it ended. */
const longestPage = 10_000;
const position = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const logPageSchema = Type.Object(
  {
    start: Type.Integer({ description: 'Position of the first entry' }),
    total: Type.Integer({ description: 'Entries in the whole log so far' }),
    logs: Type.Array(
      Type.Object({
        message: Type.String(),
        type: Type.Optional(Type.String({ description: 'phase, command or error; absent: plain output' })),
        data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      }),
    ),
    logs_url: Type.Optional(
      Type.String({
        description:
          'Once the log is archived: the whole of it as {start, total, logs} in one document. The URL is good for an hour and needs no other login.',
      }),
    ),
  },
  { title: 'LogPage' },
);

export const logPageQuery = Type.Object({
  start: Type.Optional(position),
  limit: Type.Integer({ minimum: 1, maximum: longestPage, default: longestPage }),
});

export function addBuildLogRoutes(
  api: Api,
  { queue, triggers, logs, links, clock, metrics, options, closing }: Needs,
): void {
  const base = '/api/v1/repository/:namespace/:repository/build/:build/logs';

  api.get(
    base,
    {
      config: { access: 'build-log' },
      schema: {
        operationId: 'getRepoBuildLogs',
        summary: 'Entries of the log of a build',
        tags,
        params: buildParams,
        querystring: logPageQuery,
        response: { 200: logPageSchema },
      },
    },
    async (request) => {
      const build = await buildOf(queue, repositoryOf(request).name, request.params.build);
      const page = await logs.read(build.id, request.query.start ?? 0, request.query.limit);
      return {
        start: page.start,
        total: page.total,
        logs: [...page.entries],
        ...(page.archived === true
          ? { logs_url: `${options.publicOrigin(request.raw)}${signedArchivePath(links, build.id)}` }
          : {}),
      };
    },
  );

  api.get(
    `${base}/stream`,
    {
      config: { access: 'build-log' },
      exposeHeadRoute: false,
      schema: {
        operationId: 'streamRepoBuildLogs',
        summary: 'The log of a build as it is written, and its phases',
        description:
          'Server-sent events. `log`: {start, logs}, its id is the position after its last entry; give it back in Last-Event-ID (or start) to go on there. `phase`: the view of the build when it changed. `end`: the final view; nothing comes after it.',
        tags,
        params: buildParams,
        querystring: Type.Object({ start: Type.Optional(position) }),
        headers: Type.Object({ 'last-event-id': Type.Optional(position) }),
        produces: ['text/event-stream'],
      },
    },
    async (request, reply) => {
      const { name, role } = repositoryOf(request);
      const build = await buildOf(queue, name, request.params.build);
      const start = request.headers['last-event-id'] ?? request.query.start ?? 0;
      const over = new AbortController();
      // A generator that waits is not ended by its stream, so the connection's end has to wake it.
      reply.raw.once('close', () => over.abort());
      const signal = AbortSignal.any([over.signal, closing]);
      const events = Readable.from(
        logEvents({
          build,
          role,
          start,
          queue,
          triggers: new BuildTriggers(triggers),
          logs,
          clock,
          metrics,
          signal,
        }),
        // One page is read ahead at most, so a slow reader holds back the reading and no memory.
        { objectMode: true, highWaterMark: 1 },
      );
      return await reply
        .type('text/event-stream; charset=utf-8')
        .header('x-accel-buffering', 'no')
        .send(events);
    },
  );

  api.get(
    `${base}/download`,
    {
      config: { access: 'build-log' },
      exposeHeadRoute: false,
      schema: {
        operationId: 'downloadRepoBuildLogs',
        summary: 'The log of a build as text',
        tags,
        params: buildParams,
        produces: ['text/plain'],
      },
    },
    async (request, reply) => {
      const build = await buildOf(queue, repositoryOf(request).name, request.params.build);
      const over = new AbortController();
      const text = Readable.from(logs.download(build.id, over.signal), {
        objectMode: true,
        highWaterMark: 1,
      });
      text.on('data', (piece: Uint8Array) => metrics.logBytesSent.inc(piece.byteLength));
      text.once('close', () => over.abort());
      return await reply
        .type('text/plain; charset=utf-8')
        .header(
          'content-disposition',
          `attachment; filename="${build.id}${isFinal(build.phase) ? '' : '-unfinished'}.log"`,
        )
        .send(text.pause());
    },
  );
}
