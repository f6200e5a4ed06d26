import { once } from 'node:events';
import type { handleBidiStreamingCall, handleUnaryCall, ServerDuplexStream } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import type { WorkerSessions } from '../manager/worker-sessions.ts';
import { type RpcLog, statusOf } from './status.ts';
import type { WorkerTokens } from './tokens.ts';

/** What the handler of every rpc works with. */
export interface CallContext {
  readonly sessions: WorkerSessions;
  readonly tokens: WorkerTokens;
  readonly log: RpcLog;
  /** Fires when the server stops: open streams end, and their workers connect again elsewhere. */
  readonly stopping: AbortSignal;
}

/** One stream, from its first message to its end. */
export interface StreamAnswers<Request, Response> {
  answer(request: Request): Promise<Response>;
  /** The worker has ended its side in good order, or the stream broke. Nothing can be answered any more. */
  closed?(): void;
}

export function unary<Request, Response>(
  rpc: string,
  context: CallContext,
  answer: (request: Request) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    answer(call.request).then(
      (response) => callback(null, response),
      (thrown: unknown) => callback(statusOf(thrown, rpc, context.log)),
    );
  };
}

/**
 * Answers each message of a stream before it reads the next one, so a slow store slows the sender through HTTP/2's
 * flow control, and answers leave in order. `open` may keep `push` to send something unasked.
 */
export function stream<Request, Response>(
  rpc: string,
  context: CallContext,
  open: (push: (response: Response) => void) => StreamAnswers<Request, Response>,
): handleBidiStreamingCall<Request, Response> {
  return (call) => {
    const push = (response: Response): void => {
      if (!call.cancelled && call.writable) call.write(response);
    };
    const answers = open(push);
    const onStop = (): void => {
      call.emit('error', {
        code: status.UNAVAILABLE,
        details: 'The build manager is stopping; connect again.',
      });
    };
    context.stopping.addEventListener('abort', onStop, { once: true });
    serve(call, answers)
      .catch((thrown: unknown) => {
        if (call.cancelled || context.stopping.aborted) return;
        call.emit('error', statusOf(thrown, rpc, context.log));
      })
      .finally(() => {
        context.stopping.removeEventListener('abort', onStop);
        answers.closed?.();
      });
    if (context.stopping.aborted) onStop();
  };
}

/**
 * One message at a time, in order. What comes while one is answered waits here, and nothing more is read.
 * Events, not the stream's iterator: that costs a worker that waits for each answer as much as the rest of its call.
 */
function serve<Request, Response>(
  call: ServerDuplexStream<Request, Response>,
  answers: StreamAnswers<Request, Response>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const waiting: Request[] = [];
    let busy = false;
    let ended = false;
    /** Set once the stream is broken: then nothing more is answered, and it is over when what is under way is. */
    let broken: (() => void) | undefined;
    const breakOff = (settle: () => void): void => {
      waiting.length = 0;
      broken ??= settle;
      if (!busy) broken();
    };
    const next = (): void => {
      const request = waiting.shift();
      if (request === undefined) {
        if (ended) {
          call.end();
          resolve();
        } else if (call.isPaused()) call.resume();
        return;
      }
      busy = true;
      answers
        .answer(request)
        .then((response) => {
          if (broken !== undefined || call.cancelled || call.write(response)) return undefined;
          return drained(call);
        })
        .then(goOn, (thrown: unknown) => {
          call.pause();
          busy = false;
          breakOff(() => reject(thrown));
        });
    };
    const goOn = (): void => {
      busy = false;
      if (broken !== undefined) broken();
      else next();
    };
    call.on('data', (request: Request) => {
      if (broken !== undefined) return;
      waiting.push(request);
      if (busy) call.pause();
      else next();
    });
    call.on('end', () => {
      ended = true;
      if (!busy && broken === undefined) next();
    });
    call.on('cancelled', () => breakOff(resolve));
    call.on('error', (thrown: unknown) => breakOff(() => reject(thrown)));
  });
}

/** A peer that reads no answers is waited for; that it goes away ends the wait too. */
async function drained(call: ServerDuplexStream<unknown, unknown>): Promise<void> {
  const done = new AbortController();
  try {
    await Promise.race([
      once(call, 'drain', { signal: done.signal }),
      once(call, 'cancelled', { signal: done.signal }),
      once(call, 'close', { signal: done.signal }),
    ]);
  } finally {
    done.abort();
  }
}
