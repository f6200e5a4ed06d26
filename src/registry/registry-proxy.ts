import {
  Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
  type ServerResponse,
} from 'node:http';
import { sendOciError } from './oci-error-response.ts';

/** Headers of one connection (RFC 9110, 7.6.1), and those a client must not tell the registry. */
const notForwarded = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
]);

/** How long a client may go on sending a body after its request was answered. */
const lingerMilliseconds = 2_000;
/** A registry that neither takes nor gives a byte for this long is taken for dead. */
const silenceMilliseconds = 120_000;
const largestAnswer = 1024 * 1024;

export interface ProxiedAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** The registry could not be asked, or broke off. */
export class UpstreamGone extends Error {
  constructor(cause: unknown) {
    super('The registry process does not answer.', { cause });
    this.name = 'UpstreamGone';
  }
}

/**
 * The way from an HTTP request to the registry's unix socket. Bodies are streamed in both directions at the pace
 * of the slower side; connections to the registry are kept.
 */
export class RegistryProxy {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, maxFreeSockets: 16, scheduling: 'lifo' });

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Passes a request on as it is, under another path; answers it in every case. */
  forward(incoming: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    return new Promise((resolve) => {
      // Nothing is left to be done once the answer went out or the client went away.
      response.once('close', resolve);
      this.#attempt(incoming, response, path, !hasBody(incoming));
    });
  }

  #attempt(incoming: IncomingMessage, response: ServerResponse, path: string, mayRepeat: boolean): void {
    const outgoing = request({
      socketPath: this.#socketPath,
      agent: this.#agent,
      method: incoming.method ?? 'GET',
      path,
      headers: forwardedHeaders(incoming.headers),
      timeout: silenceMilliseconds,
    });
    const abandon = () => outgoing.destroy();
    response.once('close', abandon);
    outgoing.once('timeout', () => outgoing.destroy(new Error('The registry is silent.')));
    outgoing.once('error', () => {
      response.off('close', abandon);
      incoming.unpipe(outgoing);
      if (response.destroyed || response.writableEnded) return;
      // A kept connection may have been closed just when it was used again; without a body nothing is lost.
      if (mayRepeat && outgoing.reusedSocket && !response.headersSent) {
        this.#attempt(incoming, response, path, false);
        return;
      }
      sendUnavailable(response);
      linger(incoming);
    });
    outgoing.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, clientHeaders(answer.headers));
      // `aborted` mid-body: the client must see a broken answer, never a short one that looks whole.
      answer.once('error', () => response.destroy());
      answer.pipe(response);
      answer.once('end', () => linger(incoming));
    });
    if (hasBody(incoming)) incoming.pipe(outgoing);
    else outgoing.end();
  }

  /** Sends a whole request and reads the whole (small) answer. Throws UpstreamGone. */
  send(message: {
    method: string;
    path: string;
    headers: Readonly<Record<string, string>>;
    body: Buffer;
  }): Promise<ProxiedAnswer> {
    return new Promise((resolve, reject) => {
      const { method, path, body } = message;
      const headers = { ...message.headers, 'content-length': String(body.length) };
      const outgoing = request({ socketPath: this.#socketPath, agent: this.#agent, method, path, headers });
      outgoing.setTimeout(silenceMilliseconds, () => outgoing.destroy(new Error('The registry is silent.')));
      outgoing.once('error', (error) => reject(new UpstreamGone(error)));
      outgoing.once('response', (answer) => {
        const chunks: Buffer[] = [];
        let length = 0;
        answer.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > largestAnswer) answer.destroy(new Error('The answer is too long.'));
          else chunks.push(chunk);
        });
        answer.once('error', (error) => reject(new UpstreamGone(error)));
        answer.once('end', () =>
          resolve({ status: answer.statusCode ?? 502, headers: answer.headers, body: Buffer.concat(chunks) }),
        );
      });
      outgoing.end(body);
    });
  }

  /** Closes the connections to the registry that are not in use. */
  close(): void {
    this.#agent.destroy();
  }
}

export function sendUnavailable(response: ServerResponse): void {
  sendOciError(response, 503, 'UNAVAILABLE', 'The registry is restarting. Try again in a moment.', {
    'Retry-After': '1',
  });
}

/** Lets a client that is still sending find its answer, but not send for ever. */
export function linger(incoming: IncomingMessage): void {
  if (incoming.complete) return;
  incoming.resume();
  const timer = setTimeout(() => {
    if (!incoming.complete) incoming.socket.destroy();
  }, lingerMilliseconds);
  timer.unref();
  const answered = () => clearTimeout(timer);
  incoming.once('end', answered);
  // The request's own, not the connection's: that one may carry any number of requests after this one.
  incoming.once('close', answered);
}

/** The headers of an answer as the client should see them: places are paths on this server. */
export function clientHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const result = endToEnd(headers);
  const location = result.location;
  if (typeof location === 'string') result.location = localPath(location);
  delete result['www-authenticate'];
  return result;
}

function forwardedHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  return endToEnd(headers);
}

function endToEnd(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const result: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !notForwarded.has(name) && !named.includes(name)) result[name] = value;
  }
  return result;
}

/** The registry knows no public name of its own; a path is right under whatever name the client used. */
function localPath(location: string): string {
  const absolute = URL.parse(location, 'http://registry');
  return absolute === null ? location : `${absolute.pathname}${absolute.search}`;
}

function hasBody(incoming: IncomingMessage): boolean {
  return (
    incoming.headers['transfer-encoding'] !== undefined || Number(incoming.headers['content-length'] ?? 0) > 0
  );
}
