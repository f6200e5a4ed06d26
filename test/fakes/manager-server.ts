import { createServer } from 'node:http';
import { systemClock } from '../../src/base/clock.ts';
import type { WorkerIdentity } from '../../src/manager/worker-sessions.ts';
import type { Keepalive } from '../../src/rpc/keepalive.ts';
import { createOnePort, type OnePort } from '../../src/rpc/one-port.ts';
import { RpcServer } from '../../src/rpc/server.ts';
import type { RpcLog } from '../../src/rpc/status.ts';
import { newTokenKey, TokenKeySet } from '../../src/rpc/token-keys.ts';
import { WorkerTokens } from '../../src/rpc/tokens.ts';
import { MemorySessions } from './memory-sessions.ts';

/** A build manager that listens, with sessions in memory. It can be stopped and started again on its port. */
export class ManagerServer {
  readonly sessions = new MemorySessions();
  readonly tokens: WorkerTokens;
  readonly logged: { level: string; fields: object; text: string }[] = [];
  readonly #tls: { key: string; cert: string } | undefined;
  readonly #keepalive: Keepalive | undefined;
  #rpc: RpcServer | undefined;
  #port: OnePort | undefined;
  #number = 0;

  private constructor(tls?: { key: string; cert: string }, keepalive?: Keepalive) {
    this.#tls = tls;
    this.#keepalive = keepalive;
    this.tokens = new WorkerTokens({
      keys: new TokenKeySet([newTokenKey()]),
      issuer: 'slipway',
      audience: 'localhost',
      clock: systemClock,
    });
  }

  static async start(tls?: { key: string; cert: string }, keepalive?: Keepalive): Promise<ManagerServer> {
    const manager = new ManagerServer(tls, keepalive);
    await manager.listen();
    return manager;
  }

  get address(): string {
    return `127.0.0.1:${this.#number}`;
  }

  get connections(): number {
    return this.#port?.connections ?? 0;
  }

  async listen(): Promise<void> {
    const level =
      (name: string) =>
      (fields: object, text: string): void => {
        this.logged.push({ level: name, fields, text });
      };
    const log: RpcLog = { info: level('info'), warn: level('warn'), error: level('error') };
    this.#rpc = new RpcServer({
      sessions: this.sessions,
      tokens: this.tokens,
      log,
      ...(this.#keepalive === undefined ? {} : { keepalive: this.#keepalive }),
    });
    const http = createServer((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      request.on('end', () => response.end(`${request.method} ${request.url} ${bytes}`));
    });
    this.#port = createOnePort({
      grpc: this.#rpc,
      http,
      log,
      ...(this.#tls === undefined ? {} : { tls: this.#tls }),
    });
    this.#number = (await this.#port.listen({ host: '127.0.0.1', port: this.#number })).port;
  }

  registrationToken(identity: WorkerIdentity): Promise<string> {
    return this.tokens.sign('build_job_registration', identity, 60);
  }

  async stop(grace = 1_000): Promise<void> {
    await this.#rpc?.stop(grace);
    await this.#port?.stop(grace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop(0);
  }
}
