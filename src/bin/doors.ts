import type { Server as HttpServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { createOnePort, type OnePort, type TlsMaterial } from '../rpc/one-port.ts';
import type { RpcLog } from '../rpc/status.ts';
import type { TlsFiles } from '../rpc/tls-files.ts';
import { listenError } from './listen-error.ts';

export interface DoorsOptions {
  readonly grpc: { accept(connection: Duplex): void };
  readonly http: HttpServer;
  readonly host: string;
  readonly port: number;
  /** Clear-text gRPC on a port of its own. */
  readonly grpcPort?: number;
  /** gRPC by TLS on a port of its own; needs `tls`. */
  readonly grpcTlsPort?: number;
  readonly tls?: TlsFiles;
  /** `port` speaks TLS; needs `tls`. Where something in front of it ends TLS, it does not. */
  readonly portTls: boolean;
  /** Told of another certificate before it is shown to anybody. */
  readonly onCertificate?: (material: TlsMaterial) => Promise<void>;
  /** What an operator may change when an address cannot be had. */
  readonly setting: string;
  readonly log: RpcLog;
}

/** The ports a server listens on: one for everything, and those of gRPC alone that were asked for. */
export class Doors {
  readonly #options: DoorsOptions;
  readonly #open: { readonly door: OnePort; readonly tls: boolean; readonly said: string }[] = [];

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  /** Opens all, or none: throws SetupError `port-taken`, or TlsFilesError. Certificates are watched from then on. */
  async listen(): Promise<void> {
    const { grpc, http, host, port, grpcPort, grpcTlsPort, tls, portTls, setting, log } = this.#options;
    const material = await tls?.load();
    const withTls = material === undefined ? {} : { tls: material };
    const plans = [
      { options: { grpc, http, log, ...(portTls ? withTls : {}) }, port },
      ...(grpcPort === undefined ? [] : [{ options: { grpc, log }, port: grpcPort }]),
      ...(grpcTlsPort === undefined || material === undefined
        ? []
        : [{ options: { grpc, log, ...withTls }, port: grpcTlsPort }]),
    ];
    try {
      for (const plan of plans) {
        const door = createOnePort(plan.options);
        await door.listen({ host, port: plan.port }).catch((cause: unknown) => {
          throw listenError({ host, port: plan.port }, setting, cause);
        });
        const withoutHttp = 'http' in plan.options ? 'REST, registry and gRPC' : 'gRPC';
        const secured = 'tls' in plan.options;
        const said = `${host}:${plan.port}  ${withoutHttp}, ${secured ? 'TLS' : 'clear text'}`;
        this.#open.push({ door, tls: secured, said });
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
    tls?.watch(async (renewed) => {
      await this.#options.onCertificate?.(renewed);
      for (const each of this.#open) if (each.tls) each.door.renew(renewed);
    });
  }

  /** What is listened on, for a person. */
  get said(): readonly string[] {
    return this.#open.map(({ said }) => said);
  }

  /** Lets answers end; connections of gRPC are left to their server. */
  async stop(): Promise<void> {
    await this.#options.tls?.stop();
    await Promise.all(this.#open.splice(0).map(({ door }) => door.stop()));
  }
}
