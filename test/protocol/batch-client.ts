import { credentials, type ServiceError } from '@grpc/grpc-js';
import { BuildManagerClient, type LogBatchReply, LogType } from '../../src/rpc/generated/buildman.ts';
import { type Answer, statusOf } from './shared-client.ts';

/** Single calls of LogBatches, which only our own workers know, each with the token that a test gives it. */
export class BatchClient implements Disposable {
  readonly #client: BuildManagerClient;

  constructor(host: string) {
    this.#client = new BuildManagerClient(host, credentials.createInsecure());
  }

  /** One line, on a stream of its own. */
  log(token: string, sequence: number, text: string): Promise<Answer> {
    return new Promise((resolve) => {
      const call = this.#client.logBatches();
      call.once('data', ({ success, sequenceNumber }: LogBatchReply) => {
        resolve({ kind: 'reply', reply: { success, sequence_number: sequenceNumber } });
        call.end();
      });
      call.on('error', (error: ServiceError) => resolve(statusOf(error)));
      call.on('end', () => resolve({ kind: 'status', code: 'OK', details: 'ended without an answer' }));
      const run = {
        text: Buffer.from(text),
        count: 1,
        type: LogType.OUTPUT,
        time: Date.now(),
        partial: false,
      };
      call.write({ jobJwt: token, sequenceNumber: sequence, runs: [run] });
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
