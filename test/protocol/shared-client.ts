import { join } from 'node:path';
import {
  type ClientDuplexStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

type Message = Readonly<Record<string, unknown>>;
type Unary = (
  request: Message,
  done: (error: ServiceError | null, reply: Message | undefined) => void,
) => void;
type Stream = () => ClientDuplexStream<Message, Message>;

interface Stub {
  close(): void;
  registerBuildJob: Unary;
  setPhase: Unary;
  determineCachedTag: Unary;
  heartbeat: Stream;
  logMessage: Stream;
}

const definition = loadSync(join(import.meta.dirname, '..', 'fakes', 'reference-worker', 'shared.proto'), {
  keepCase: true,
  defaults: true,
  oneofs: true,
  enums: String,
});
const { BuildManager } = loadPackageDefinition(definition).buildman_pb as unknown as {
  BuildManager: ServiceClientConstructor;
};

/** How a call ended: with a reply, or with a status. */
export type Answer =
  | { readonly kind: 'reply'; readonly reply: Message }
  | { readonly kind: 'status'; readonly code: string; readonly details: string };

/** Single calls of the protocol's shared part, each with the token and the fields that a test gives it. */
export class SharedClient implements Disposable {
  readonly #stub: Stub;

  constructor(host: string) {
    this.#stub = new BuildManager(host, credentials.createInsecure()) as unknown as Stub;
  }

  register(token: string): Promise<Answer> {
    return this.#unary('registerBuildJob', { register_jwt: token });
  }

  heartbeat(token: string): Promise<Answer> {
    return this.#stream('heartbeat', { job_jwt: token });
  }

  /** A number stands for a phase that this contract has no name for. */
  setPhase(token: string, sequence: number, phase: string | number): Promise<Answer> {
    return this.#unary('setPhase', { job_jwt: token, sequence_number: sequence, phase });
  }

  /** On a stream of its own. */
  log(token: string, sequence: number, text: string): Promise<Answer> {
    return this.#stream('logMessage', {
      job_jwt: token,
      sequence_number: sequence,
      log_message: JSON.stringify({ stream: text }),
      phase: 'BUILDING',
    });
  }

  /** Several lines on one stream, each after the answer to the one before, as workers send them. */
  async logAll(token: string, texts: readonly string[]): Promise<void> {
    const call = this.#stub.logMessage();
    try {
      for (const [at, text] of texts.entries()) {
        const answered = new Promise<void>((resolve, reject) => {
          call.once('data', () => resolve());
          call.once('error', reject);
        });
        call.write({
          job_jwt: token,
          sequence_number: at + 1,
          log_message: JSON.stringify({ stream: text }),
          phase: 'BUILDING',
        });
        await answered;
      }
    } finally {
      call.end();
    }
  }

  cachedTag(token: string): Promise<Answer> {
    return this.#unary('determineCachedTag', { job_jwt: token });
  }

  #unary(rpc: 'registerBuildJob' | 'setPhase' | 'determineCachedTag', request: Message): Promise<Answer> {
    return new Promise((resolve) => {
      this.#stub[rpc](request, (error, reply) => {
        resolve(error === null && reply !== undefined ? { kind: 'reply', reply } : statusOf(error));
      });
    });
  }

  #stream(rpc: 'heartbeat' | 'logMessage', request: Message): Promise<Answer> {
    return new Promise((resolve) => {
      const call = this.#stub[rpc]();
      call.once('data', (reply: Message) => {
        resolve({ kind: 'reply', reply });
        call.end();
      });
      call.on('error', (error: ServiceError) => resolve(statusOf(error)));
      call.on('end', () => resolve({ kind: 'status', code: 'OK', details: 'ended without an answer' }));
      call.write(request);
    });
  }

  [Symbol.dispose](): void {
    this.#stub.close();
  }
}

export function statusOf(error: ServiceError | null): Answer {
  return {
    kind: 'status',
    code: status[error?.code ?? status.UNKNOWN] ?? 'UNKNOWN',
    details: error?.details ?? '',
  };
}
