import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import type { BuildManagerClient } from './generated/buildman.ts';
import type { RpcError } from './rpc-error.ts';

export type LinkStream<Request, Response> = ClientDuplexStream<Request, Response>;

/** What the streams of a ManagerLink share with it. */
export interface StreamOptions {
  readonly client: BuildManagerClient;
  readonly token: string;
  readonly clock: Clock;
  readonly log: (text: string) => void;
  /** The link is over: streams are cancelled and not opened again. */
  readonly ended: AbortSignal;
  /** The manager answered: it lives. */
  readonly onAnswer: () => void;
  /** A stream broke. The link ends here when trying again cannot help. */
  readonly onFailure: (thrown: unknown) => void;
  readonly onEnd: (reason: RpcError) => void;
}

/** Resolves with the reason when a stream is over, however that came; cancels it when the link ends. */
export function settled<Request, Response>(
  call: LinkStream<Request, Response>,
  ended: AbortSignal,
): Promise<unknown> {
  return new Promise((resolve) => {
    const onEnd = (): void => call.cancel();
    const finish = (reason: unknown): void => {
      ended.removeEventListener('abort', onEnd);
      resolve(reason);
    };
    call.on('error', finish);
    call.on('end', () => finish(new Error('the build manager ended the stream')));
    ended.addEventListener('abort', onEnd, { once: true });
    if (ended.aborted) onEnd();
  });
}
