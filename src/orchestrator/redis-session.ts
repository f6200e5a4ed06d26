import { readFile } from 'node:fs/promises';
import type { RedisClientOptions } from 'redis';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { withExpiryEvents } from './keyspace-flags.ts';
import { OrchestratorError } from './orchestrator-error.ts';
import { noAnswer, translateRedisError } from './redis-errors.ts';

/** One Redis server. */
export interface RedisServer {
  readonly host: string;
  readonly port: number;
  /** Of an ACL user; absent: the default user. */
  readonly username?: string;
  readonly password?: string;
  readonly database: number;
  /** Absent: clear text. Paths of PEM files; they are read at every connection, so renewed ones are taken up. */
  readonly tls?: {
    readonly ca?: string;
    readonly certificate?: { readonly certificate: string; readonly key: string };
  };
}

export interface RedisSessionOptions {
  readonly server: RedisServer;
  /** Leave `notify-keyspace-events` as it is. */
  readonly skipKeyspaceEventSetup: boolean;
  /** Messages of this channel are told. */
  readonly channel: string;
  /** Milliseconds an answer may take, and a connection to come about. */
  readonly patience: number;
  readonly clock: Clock;
  /** Milliseconds that only go forwards. */
  readonly steady: () => number;
  readonly onMessage: (text: string) => void;
  /** Expiries of keys that begin so are told. */
  readonly expiring: string;
  readonly onExpiredKey: (key: string) => void;
  /** Something the session does without. */
  readonly onWarning: (error: OrchestratorError) => void;
}

type Client = ReturnType<typeof makeClient>;

/**
 * Two connections to Redis, one for commands and one that listens, from both being ready until the first of them
 * fails; then the session is over and another is opened. It never reconnects by itself and queues nothing for later.
 */
export class RedisSession implements Disposable {
  readonly #options: RedisSessionOptions;
  readonly #commands: Client;
  readonly #listener: Client;
  readonly #over: (error: OrchestratorError) => void;
  /** Resolves with the reason when the session is over. */
  readonly over: Promise<OrchestratorError>;
  /** Redis's clock minus the steady one, in milliseconds. */
  #offset = 0;

  private constructor(options: RedisSessionOptions, commands: Client, listener: Client) {
    this.#options = options;
    this.#commands = commands;
    this.#listener = listener;
    let over: (error: OrchestratorError) => void = () => {};
    this.over = new Promise((resolve) => {
      over = resolve;
    });
    this.#over = over;
    for (const client of [commands, listener]) {
      client.on('error', (error: unknown) => this.fail(error));
    }
  }

  /** Throws OrchestratorError, at the latest after `patience`; nothing is left open then. */
  static async open(options: RedisSessionOptions, signal: AbortSignal): Promise<RedisSession> {
    const { server } = options;
    const redis = await import('redis');
    const client = await clientOptions(options);
    const session = new RedisSession(options, makeClient(redis, client), makeClient(redis, client));
    const stop = () => session[Symbol.dispose]();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await session.#within(Promise.all([session.#commands.connect(), session.#listener.connect()]));
      if (!options.skipKeyspaceEventSetup) await session.#setUpKeyspaceEvents();
      await session.#listen(options.channel);
      await session.#listenToExpiries(`__keyspace@${server.database}__:`);
      await session.readTime();
      signal.throwIfAborted();
      return session;
    } catch (thrown) {
      session[Symbol.dispose]();
      throw translateRedisError(thrown, server);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** One command and its reply. Throws OrchestratorError; the session is over then. */
  async send(command: readonly string[]): Promise<unknown> {
    const [reply] = await this.sendAll([command]);
    return reply;
  }

  /** Commands that go out together. */
  async sendAll(commands: readonly (readonly string[])[]): Promise<unknown[]> {
    try {
      return await this.#within(Promise.all(commands.map((command) => this.#commands.sendCommand(command))));
    } catch (thrown) {
      throw this.fail(thrown);
    }
  }

  /** Asks both connections for a sign of life, and Redis for its time. */
  async check(): Promise<void> {
    try {
      await Promise.all([this.readTime(), this.#within(this.#listener.sendCommand(['PING']))]);
    } catch (thrown) {
      throw this.fail(thrown);
    }
  }

  async readTime(): Promise<void> {
    const before = this.#options.steady();
    const reply = await this.#within(this.#commands.sendCommand(['TIME']));
    const after = this.#options.steady();
    const [seconds, microseconds] = texts(reply).map(Number);
    if (seconds === undefined || microseconds === undefined) return;
    this.#offset = seconds * 1000 + microseconds / 1000 - (before + after) / 2;
  }

  /** Milliseconds since 1970 on Redis's clock, which all managers share, for a moment of the steady clock. */
  toRedis(steady: number): number {
    return Math.round(steady + this.#offset);
  }

  fromRedis(milliseconds: number): number {
    return milliseconds - this.#offset;
  }

  /** Ends the session for this reason, unless it is over already. */
  fail(thrown: unknown): OrchestratorError {
    const error = translateRedisError(thrown, this.#options.server);
    this.#over(error);
    return error;
  }

  async #listen(channel: string): Promise<void> {
    await this.#subscribed(
      channel,
      this.#listener.subscribe(channel, (text) => this.#options.onMessage(text)),
    );
  }

  /** Channels of the keyspace are named after keys, so other programs' keys make no noise here. */
  async #listenToExpiries(keyspace: string): Promise<void> {
    const { expiring, onExpiredKey } = this.#options;
    const pattern = `${literally(keyspace + expiring)}*`;
    const told = (event: string, channel: string): void => {
      if (event === 'expired') onExpiredKey(channel.slice(keyspace.length));
    };
    await this.#subscribed(pattern, this.#listener.pSubscribe(pattern, told));
  }

  async #subscribed(channel: string, subscription: Promise<unknown>): Promise<void> {
    try {
      await this.#within(subscription);
    } catch (thrown) {
      if (!messageOf(thrown).startsWith('NOPERM')) throw thrown;
      this.#options.onWarning(
        new OrchestratorError(
          'forbidden',
          `Redis does not let this account listen to the channel ${channel}: events of other managers come late, or ` +
            'only by the database. Allow the channel in the ACL.',
          thrown,
        ),
      );
    }
  }

  /** Redis tells of expired keys only when asked to, and forgets it when it is restarted. */
  async #setUpKeyspaceEvents(): Promise<void> {
    try {
      const reply = await this.#within(
        this.#commands.sendCommand(['CONFIG', 'GET', 'notify-keyspace-events']),
      );
      const wanted = withExpiryEvents(texts(reply)[1] ?? '');
      if (wanted === undefined) return;
      await this.#within(this.#commands.sendCommand(['CONFIG', 'SET', 'notify-keyspace-events', wanted]));
    } catch (thrown) {
      if (!/^NOPERM|unknown command/i.test(messageOf(thrown))) throw thrown;
      this.#options.onWarning(
        new OrchestratorError(
          'forbidden',
          'Redis does not let this account use CONFIG, so silent workers are found by looking every few seconds ' +
            'instead of being told. Let notify-keyspace-events of the server contain "Kx" and set ' +
            'REDIS_SKIP_KEYSPACE_EVENT_SETUP, or allow CONFIG GET and CONFIG SET.',
          thrown,
        ),
      );
    }
  }

  async #within<T>(work: Promise<T>): Promise<T> {
    const { clock, patience, server } = this.#options;
    const done = new AbortController();
    const late = clock.sleep(patience, done.signal).then(() => {
      throw noAnswer(server, patience);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      done.abort();
    }
  }

  [Symbol.dispose](): void {
    this.#over(new OrchestratorError('unreachable', 'The connection to Redis was closed.'));
    for (const client of [this.#commands, this.#listener]) client.destroy();
  }
}

/** A pattern of Redis that means just this text. */
function literally(text: string): string {
  return text.replaceAll(/[\\*?[\]]/g, '\\$&');
}

function makeClient(redis: typeof import('redis'), options: RedisClientOptions) {
  return redis.createClient({ ...options, RESP: 2 });
}

async function clientOptions({ server, patience }: RedisSessionOptions): Promise<RedisClientOptions> {
  const { host, port, username, password, database, tls } = server;
  const place = { host, port, connectTimeout: patience, reconnectStrategy: false } as const;
  return {
    socket: tls === undefined ? place : { ...place, tls: true, ...(await readTls(tls)) },
    database,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    name: 'slipway',
    disableClientInfo: true,
    disableOfflineQueue: true,
    commandsQueueMaxLength: 10_000,
    maintNotifications: 'disabled',
  };
}

async function readTls({ ca, certificate }: NonNullable<RedisServer['tls']>) {
  const read = async (setting: string, path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (thrown) {
      throw new OrchestratorError(
        'certificate-file',
        `${setting} names ${path}, which cannot be read (${messageOf(thrown)}): correct the path or its permissions.`,
        thrown,
      );
    }
  };
  return {
    ...(ca === undefined ? {} : { ca: await read('REDIS_CA_CERT', ca) }),
    ...(certificate === undefined
      ? {}
      : {
          cert: await read('REDIS_CERT_AND_KEY', certificate.certificate),
          key: await read('REDIS_CERT_AND_KEY', certificate.key),
        }),
  };
}

/** The texts of a reply that is a list. */
export function texts(reply: unknown): string[] {
  return Array.isArray(reply) ? reply.map((item) => (item === null ? '' : String(item))) : [];
}
