import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import type { AttemptId } from '../../src/model/ids.ts';
import type { Tag } from '../../src/model/tag.ts';
import type { AttemptGate, Authorizer } from '../../src/registry/authorizer.ts';
import { BuildCredentials } from '../../src/registry/build-credential.ts';
import type { PushHistory } from '../../src/registry/cached-tag.ts';
import { embeddedClient } from '../../src/registry/embedded-client.ts';
import { EmbeddedRegistry, type EmbeddedRegistryEvent } from '../../src/registry/embedded-registry.ts';
import { type ImageChange, RegistryGateway } from '../../src/registry/gateway.ts';
import { OciRegistry } from '../../src/registry/oci-registry.ts';
import { publicOrigin } from '../../src/registry/public-origin.ts';
import type { Push } from '../../src/registry/registry.ts';
import type { RegistryAction } from '../../src/registry/registry-access.ts';
import { loadSigningKey } from '../../src/registry/signing-key.ts';
import { parseBasic, TokenEndpoint, TokenRequestError } from '../../src/registry/token-endpoint.ts';
import { TokenService } from '../../src/registry/token-service.ts';

/** Accounts in memory: passwords, and what a name (or nobody, '') may do with a repository. */
export class MemoryAuthorizer implements Authorizer {
  readonly passwords = new Map<string, string>();
  readonly rights = new Map<string, readonly RegistryAction[]>();

  allow(name: string, repository: string, actions: readonly RegistryAction[]): void {
    this.rights.set(`${name} ${repository}`, actions);
  }

  async authenticate({ username, password }: { username: string; password: string }) {
    return this.passwords.get(username) === password ? { name: username } : undefined;
  }

  async readerNamed(name: string) {
    return this.passwords.has(name) ? { name } : undefined;
  }

  async authorize(subject: { name: string } | undefined, repository: string) {
    const own = this.rights.get(`${subject?.name ?? ''} ${repository}`) ?? [];
    return [...own, ...(this.rights.get(` ${repository}`) ?? [])];
  }
}

/** Attempts in memory, with a count of how often it was asked. */
export class MemoryAttempts implements AttemptGate {
  readonly current = new Map<AttemptId, number>();
  asked = 0;

  async isCurrent(attemptId: AttemptId, epoch: number): Promise<boolean> {
    this.asked += 1;
    return this.current.get(attemptId) === epoch;
  }

  async timeOf(attemptId: AttemptId, epoch: number): Promise<number | undefined> {
    return (await this.isCurrent(attemptId, epoch)) ? Date.now() : undefined;
  }
}

/** The real registry process, gateway and token endpoint on a plain HTTP server of their own. */
export class RegistryServer implements PushHistory {
  readonly authorizer = new MemoryAuthorizer();
  readonly attempts = new MemoryAttempts();
  readonly pushes: Push[] = [];
  readonly events: EmbeddedRegistryEvent[] = [];
  readonly faults: unknown[] = [];
  /** What people did to images by hand. */
  readonly imageChanges: ImageChange[] = [];
  /** Requests of builds whose attempt was not current. */
  staleRefused = 0;
  readonly folder: string;
  readonly tokens: TokenService;
  readonly buildCredentials: BuildCredentials;
  readonly embedded: EmbeddedRegistry;
  readonly gateway: RegistryGateway;
  readonly #endpoint: TokenEndpoint;
  readonly #server: Server;

  static async start(account?: { uid: number; gid: number }): Promise<RegistryServer> {
    const folder = await mkdtemp(path.join(tmpdir(), 'slipway-registry-'));
    const key = await loadSigningKey(path.join(folder, 'keys'), systemClock);
    const server = new RegistryServer(folder, key, account);
    await server.embedded.start();
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  private constructor(
    folder: string,
    key: Awaited<ReturnType<typeof loadSigningKey>>,
    account: { uid: number; gid: number } | undefined,
  ) {
    const clock = systemClock;
    const identity = { key, issuer: 'slipway', service: 'slipway-registry', clock };
    this.folder = folder;
    this.tokens = new TokenService(identity);
    this.buildCredentials = new BuildCredentials(identity);
    this.embedded = new EmbeddedRegistry({
      ...identity,
      folder: path.join(folder, 'registry'),
      realm: 'http://127.0.0.1/v2/auth',
      onEvent: (event) => this.events.push(event),
      ...(account === undefined ? {} : { account }),
    });
    this.#endpoint = new TokenEndpoint({
      tokens: this.tokens,
      buildCredentials: this.buildCredentials,
      authorizer: this.authorizer,
      attempts: this.attempts,
      clock,
    });
    this.gateway = new RegistryGateway({
      socketPath: this.embedded.socketPath,
      tokens: this.tokens,
      attempts: this.attempts,
      clock,
      publicOrigin: (incoming) =>
        publicOrigin(incoming, { trustForwarded: false, fallback: 'http://127.0.0.1' }),
      onPush: async (push) => void this.pushes.push(push),
      onFault: (error) => this.faults.push(error),
      onStale: () => {
        this.staleRefused += 1;
      },
    });
    this.#server = createServer((incoming, response) => {
      const url = new URL(incoming.url ?? '/', 'http://server');
      if (url.pathname !== '/v2/auth') {
        this.gateway.handle(incoming, response, async (change) => void this.imageChanges.push(change));
        return;
      }
      this.#endpoint
        .answer({
          service: url.searchParams.get('service') ?? undefined,
          scopes: url.searchParams.getAll('scope'),
          credentials: parseBasic(incoming.headers.authorization),
        })
        .then(
          (answer) => response.setHeader('Content-Type', 'application/json').end(JSON.stringify(answer)),
          (error: unknown) => {
            const status = error instanceof TokenRequestError && error.code === 'unauthorized' ? 401 : 400;
            response.writeHead(status, { 'Content-Type': 'application/json' });
            response.end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: String(error) }] }));
          },
        );
    });
    this.#server.requestTimeout = 0;
  }

  /** `host:port` */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The manager's client, straight to the socket. */
  client() {
    return embeddedClient({
      socketPath: this.embedded.socketPath,
      name: this.host,
      tokens: this.tokens,
      clock: systemClock,
    });
  }

  registry(): OciRegistry {
    return new OciRegistry({
      client: this.client(),
      pusher: 'slipway',
      fence: {
        holds: async () => true,
        recordHeld: async (push) => this.pushes.push(push) > 0,
        recorded: async () => undefined,
      },
    });
  }

  async mostRecentTag(repository: string): Promise<Tag | undefined> {
    return this.pushes.findLast((push) => push.repository === repository && push.tag !== undefined)?.tag;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await this.gateway.stop();
    await this.embedded.stop();
    await rm(this.folder, { recursive: true });
  }
}
