import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What Google answers instead of doing what is asked, for requests of a kind. */
export interface Failure {
  readonly method: string;
  readonly status: number;
  readonly code: string;
  /** So many requests; all that come unless given. */
  times?: number;
}

/**
 * Google Cloud Storage's S3-compatible API in front of a server of S3: it refuses what Google refuses, in Google's
 * words, and leaves the rest (signatures too) to that server.
 */
export class GoogleStorageServer implements AsyncDisposable {
  readonly #target: URL;
  readonly #server: Server;
  /** Method and target of every request, in their order. */
  readonly requests: string[] = [];
  /** Those that Google does not know. */
  readonly refused: string[] = [];
  readonly failures: Failure[] = [];
  /** Whole objects cannot be copied, as Google says of some that were uploaded in parts. */
  copiesNothing = false;
  /** Most removals that were under way at a time. */
  removalsAtOnce = 0;
  #removals = 0;

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((asked, answer) => this.#answer(asked, answer));
  }

  static async open(target: string): Promise<GoogleStorageServer> {
    const server = new GoogleStorageServer(new URL(target));
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(asked: IncomingMessage, answer: ServerResponse): void {
    const { method = '', url = '' } = asked;
    this.requests.push(`${method} ${url}`);
    const no = this.#refusal(asked);
    if (no !== undefined) {
      this.refused.push(`${method} ${url}: ${no}`);
      tell(
        asked,
        answer,
        400,
        no,
        'A header or query you provided requested a function that is not implemented.',
      );
      return;
    }
    const failure = this.failures.find((one) => one.method === method && (one.times ?? 1) > 0);
    if (failure !== undefined) {
      if (failure.times !== undefined) failure.times -= 1;
      tell(asked, answer, failure.status, failure.code, 'Told so by the test.');
      return;
    }
    if (this.copiesNothing && method === 'PUT' && asked.headers['x-amz-copy-source'] !== undefined) {
      tell(
        asked,
        answer,
        501,
        'NotImplemented',
        'Rewriting objects created via Multipart Upload is not implemented yet',
      );
      return;
    }
    this.#pass(asked, answer);
  }

  /** The code of the error for what Google does not know. */
  #refusal({ method, url = '', headers }: IncomingMessage): string | undefined {
    const query = new URL(url, this.#target).searchParams;
    if (method === 'POST' && query.has('delete')) return 'NotImplemented';
    if (method === 'PUT' && query.has('partNumber') && headers['x-amz-copy-source'] !== undefined)
      return 'NotImplemented';
    // A bucket with uniform access.
    if (headers['x-amz-acl'] !== undefined) return 'InvalidArgument';
    const storageClass = headers['x-amz-storage-class'];
    if (storageClass !== undefined && storageClass !== 'STANDARD') return 'InvalidArgument';
    // The front end adds to that header, so its signature cannot be right.
    if (/SignedHeaders=[^,]*accept-encoding/.test(headers.authorization ?? ''))
      return 'SignatureDoesNotMatch';
    if ((method === 'PUT' || method === 'POST') && headers['content-length'] === undefined)
      return 'MissingContentLength';
    return undefined;
  }

  #pass(asked: IncomingMessage, answer: ServerResponse): void {
    const removes = asked.method === 'DELETE';
    if (removes) {
      this.#removals += 1;
      this.removalsAtOnce = Math.max(this.removalsAtOnce, this.#removals);
      answer.once('close', () => {
        this.#removals -= 1;
      });
    }
    const passed = request(
      {
        host: this.#target.hostname,
        port: this.#target.port,
        method: asked.method,
        path: asked.url,
        headers: asked.headers,
      },
      (result) => {
        answer.writeHead(result.statusCode ?? 500, result.headers);
        result.pipe(answer);
      },
    );
    passed.on('error', () => answer.destroy());
    asked.on('error', () => passed.destroy());
    asked.pipe(passed);
  }
}

function tell(asked: IncomingMessage, answer: ServerResponse, status: number, code: string, message: string) {
  asked.resume();
  answer.writeHead(status, { 'content-type': 'application/xml; charset=UTF-8' });
  answer.end(
    `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
  );
}
