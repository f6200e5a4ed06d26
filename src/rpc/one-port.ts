import { once } from 'node:events';
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { sniff } from './sniff.ts';
import type { RpcLog } from './status.ts';

export interface OnePortOptions {
  /** Gets the connections that speak HTTP/2, which only gRPC clients do here. */
  readonly grpc: { accept(connection: Duplex): void };
  /** Gets all others. It must not listen itself. Absent: the port is gRPC's alone, and others are cut off. */
  readonly http?: HttpServer;
  readonly log: RpcLog;
  /** Without it the port speaks clear text. */
  readonly tls?: TlsMaterial;
  /** Milliseconds a client may take for its first bytes, or for its TLS handshake. */
  readonly firstBytesTimeout?: number;
  readonly maxConnections?: number;
}

export interface OnePort {
  /** Resolves when connections are accepted; rejects with Node's error when the address cannot be had. */
  listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo>;
  /**
   * Stops accepting, closes idle connections at once and the others when their response is sent; after `grace`
   * milliseconds destroys what is left. Connections of `grpc` are left to their server, which is stopped apart.
   */
  stop(grace?: number): Promise<void>;
  /** Takes another key and certificate for connections that are made from now on. For a port with TLS only. */
  renew(tls: TlsMaterial): void;
  /** Connections that are open, whichever protocol they speak. */
  readonly connections: number;
  [Symbol.asyncDispose](): Promise<void>;
}

/** PEM: the private key, and the certificate with those that lead from it to its authority. */
export interface TlsMaterial {
  readonly key: string;
  readonly cert: string;
}

/**
 * One port for REST and gRPC. In clear text the HTTP/2 preface tells them apart. With TLS it is ALPN: http/1.1 is
 * preferred, because browsers and HTTP clients offer both, while gRPC clients offer h2 alone. Without `http` it is the
 * same port for gRPC alone.
 */
export function createOnePort(options: OnePortOptions): OnePort {
  return new SniffingPort(options);
}

class SniffingPort implements OnePort {
  readonly #options: OnePortOptions;
  readonly #server: Server;
  readonly #tls: TlsServer | undefined;
  readonly #timeout: number;
  /** Open connections, and for those of the HTTP server the number of responses under way. */
  readonly #open = new Map<Socket, number>();
  readonly #grpc = new Set<Socket>();
  #draining = false;
  #wake: (() => void) | undefined;

  constructor(options: OnePortOptions) {
    this.#options = options;
    this.#timeout = options.firstBytesTimeout ?? 10_000;
    const settings = { noDelay: true, keepAlive: true, allowHalfOpen: true };
    if (options.tls === undefined) {
      this.#tls = undefined;
      this.#server = createServer(settings, (socket) => this.#onClearText(socket));
    } else {
      const server = createTlsServer({
        ...settings,
        ...options.tls,
        ALPNProtocols: options.http === undefined ? ['h2'] : ['http/1.1', 'h2'],
        handshakeTimeout: this.#timeout,
      });
      server.on('secureConnection', (socket: TLSSocket) => this.#onTls(socket));
      server.on('tlsClientError', (error) => options.log.info({ err: error }, 'a TLS handshake failed'));
      // Before the handshake: it counts as open, so that a stop ends it too.
      server.on('connection', (socket: Socket) => this.#track(socket));
      this.#tls = server;
      this.#server = server;
    }
    this.#server.maxConnections = options.maxConnections ?? 10_000;
    options.http?.on('request', this.#onRequest);
  }

  get connections(): number {
    return this.#open.size;
  }

  async listen(address: { readonly host: string; readonly port: number }): Promise<AddressInfo> {
    this.#server.listen(address);
    await once(this.#server, 'listening');
    this.#server.on('error', (error) =>
      this.#options.log.error({ err: error }, 'the listening socket failed'),
    );
    const bound = this.#server.address();
    if (bound === null || typeof bound === 'string') throw new TypeError('a TCP port has an address');
    return bound;
  }

  async stop(grace = 5_000): Promise<void> {
    this.#draining = true;
    if (this.#server.listening) this.#server.close();
    for (const [socket, responses] of this.#open) {
      if (responses === 0 && !this.#grpc.has(socket)) socket.end(() => socket.destroy());
    }
    await this.#allClosed(grace);
    const left = [...this.#open.keys()].map((socket) => once(socket, 'close'));
    for (const socket of this.#open.keys()) socket.destroy();
    await Promise.all(left);
    this.#options.http?.off('request', this.#onRequest);
  }

  renew(tls: TlsMaterial): void {
    if (this.#tls === undefined) throw new TypeError('a port without TLS has no certificate');
    this.#tls.setSecureContext(tls);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }

  async #allClosed(within: number): Promise<void> {
    if (this.#open.size === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, within);
    });
    clearTimeout(timer);
  }

  #onClearText(socket: Socket): void {
    this.#track(socket);
    sniff(socket, this.#timeout, (protocol) => this.#handOver(socket, protocol));
  }

  #onTls(socket: TLSSocket): void {
    this.#track(socket);
    this.#handOver(socket, socket.alpnProtocol === 'h2' ? 'http2' : 'http1');
  }

  #handOver(socket: Socket, protocol: 'http1' | 'http2'): void {
    if (this.#draining) {
      socket.destroy();
      return;
    }
    try {
      if (protocol === 'http2') {
        this.#grpc.add(socket);
        // An HTTP/2 peer that has ended its side has nothing more to do here.
        socket.allowHalfOpen = false;
        this.#options.grpc.accept(socket);
      } else if (this.#options.http === undefined) {
        socket.destroy();
      } else {
        this.#options.http.emit('connection', socket);
      }
    } catch (error) {
      this.#options.log.error({ err: error, protocol }, 'a connection could not be handed over');
      socket.destroy();
    }
  }

  #track(socket: Socket): void {
    if (this.#open.has(socket)) return;
    this.#open.set(socket, 0);
    // Resets and broken pipes are everyday life; the owner of the protocol has its own listener.
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#open.delete(socket);
      this.#grpc.delete(socket);
      if (this.#open.size === 0) this.#wake?.();
    });
  }

  readonly #onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const { socket } = request;
    if (!this.#open.has(socket)) return;
    this.#open.set(socket, (this.#open.get(socket) ?? 0) + 1);
    response.once('close', () => {
      const left = (this.#open.get(socket) ?? 1) - 1;
      if (!this.#open.has(socket)) return;
      this.#open.set(socket, left);
      if (this.#draining && left === 0) socket.end(() => socket.destroy());
    });
  };
}
