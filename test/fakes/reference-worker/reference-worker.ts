import { join } from 'node:path';
import {
  type ClientDuplexStream,
  type ClientOptions,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export interface ReferencePack {
  readonly job_jwt: string;
  readonly build_pack?: 'package_url' | 'git_package';
  readonly package_url?: string;
  readonly git_package?: { readonly url: string; readonly sha: string; readonly private_key: string };
  readonly context: string;
  readonly dockerfile_path: string;
  readonly repository: string;
  readonly registry: string;
  readonly pull_token: string;
  readonly push_token: string;
  readonly tag_names: readonly string[];
  readonly base_image: { readonly username: string; readonly password: string } | null;
}

interface Answer {
  readonly success: boolean;
  readonly sequence_number: number;
}

interface Client {
  close(): void;
  ping(
    request: object,
    options: object,
    done: (error: ServiceError | null, reply: { reply: string }) => void,
  ): void;
  registerBuildJob(
    request: object,
    options: object,
    done: (error: ServiceError | null, reply: ReferencePack) => void,
  ): void;
  setPhase(request: object, done: (error: ServiceError | null, reply: Answer) => void): void;
  determineCachedTag(
    request: object,
    done: (error: ServiceError | null, reply: { CachedTag: string }) => void,
  ): void;
  heartbeat(): ClientDuplexStream<object, { reply: boolean }>;
  logMessage(): ClientDuplexStream<object, Answer>;
}

type PhaseName = 'UNPACKING' | 'PULLING' | 'BUILDING' | 'PUSHING' | 'COMPLETE';

const definition = loadSync(join(import.meta.dirname, 'shared.proto'), {
  keepCase: true,
  defaults: true,
  oneofs: true,
  enums: String,
});
const service = loadPackageDefinition(definition).buildman_pb as unknown as {
  BuildManager: ServiceClientConstructor;
};

/** What a build of this worker does between the phases: the lines its engine prints, as that engine's JSON messages. */
export interface ReferenceBuild {
  readonly messages: readonly string[];
  /** Die before this phase, as the worker does when its engine fails: without a word. */
  readonly dieBefore?: PhaseName;
  /** What its engine does once it is PUSHING. */
  readonly push?: (pack: ReferencePack) => Promise<void>;
}

/**
 * Behaves on the wire as a worker that knows only the shared part of the protocol: opens the log before it registers,
 * sends one message at a time, and on failure just goes away.
 */
export class ReferenceWorker {
  readonly #client: Client;
  readonly #log: ClientDuplexStream<object, Answer>;
  readonly #answers: AsyncIterator<Answer>;
  #heartbeat: ClientDuplexStream<object, { reply: boolean }> | undefined;
  #heartbeatOver = false;
  #pack: ReferencePack | undefined;
  #logNumber = 0;
  #phaseNumber = 0;
  readonly beats: boolean[] = [];

  private constructor(client: Client) {
    this.#client = client;
    this.#log = client.logMessage();
    // Whoever waits for an answer hears of it.
    this.#log.on('error', () => {});
    this.#answers = this.#log[Symbol.asyncIterator]();
  }

  /** Ping and the log stream, in this order. `authority` (PEM) of the certificate it trusts; without it clear text. */
  static async connect(
    server: string,
    options: ClientOptions = {},
    authority?: Buffer,
  ): Promise<ReferenceWorker> {
    const client = new service.BuildManager(
      server,
      authority === undefined ? credentials.createInsecure() : credentials.createSsl(authority),
      options,
    ) as unknown as Client;
    const { reply } = await new Promise<{ reply: string }>((resolve, reject) => {
      client.ping({}, deadline(), (error, value) => (error === null ? resolve(value) : reject(error)));
    });
    if (reply !== 'pong') throw new Error(`unexpected answer to Ping: ${reply}`);
    return new ReferenceWorker(client);
  }

  async register(token: string): Promise<ReferencePack> {
    const pack = await new Promise<ReferencePack>((resolve, reject) => {
      this.#client.registerBuildJob({ register_jwt: token }, deadline(), (error, value) =>
        error === null ? resolve(value) : reject(error),
      );
    });
    this.resume(pack);
    return pack;
  }

  /** Goes on with what another one, or this one before its connection broke, had registered for. */
  resume(pack: ReferencePack): void {
    this.#pack = pack;
    this.#heartbeat = this.#client.heartbeat();
    const over = () => {
      this.#heartbeatOver = true;
    };
    this.#heartbeat.on('error', over);
    this.#heartbeat.on('end', over);
  }

  /** One heartbeat; resolves with its reply. */
  async beat(): Promise<boolean> {
    const stream = this.#heartbeat;
    if (stream === undefined) throw new Error('not registered');
    if (stream.destroyed || this.#heartbeatOver) throw new Error('the heartbeat stream has ended');
    const answer = new Promise<boolean>((resolve, reject) => {
      stream.once('error', reject);
      stream.once('data', ({ reply }: { reply: boolean }) => {
        stream.off('error', reject);
        resolve(reply);
      });
    });
    stream.write({ job_jwt: this.#pack?.job_jwt });
    const reply = await answer;
    this.beats.push(reply);
    return reply;
  }

  async log(message: string, phase = 'BUILDING', sequence = ++this.#logNumber): Promise<Answer> {
    this.#log.write({
      job_jwt: this.#pack?.job_jwt ?? '',
      sequence_number: sequence,
      log_message: message,
      phase,
    });
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error('the log stream has ended');
    return value;
  }

  setPhase(phase: PhaseName, pullMetadata?: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#client.setPhase(
        {
          job_jwt: this.#pack?.job_jwt,
          sequence_number: ++this.#phaseNumber,
          phase,
          pull_metadata: pullMetadata,
        },
        (error, value) => (error === null ? resolve(value) : reject(error)),
      );
    });
  }

  cachedTag(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#client.determineCachedTag(
        {
          job_jwt: this.#pack?.job_jwt,
          base_image_name: 'base',
          base_image_tag: 'latest',
          base_image_id: '',
        },
        (error, value) => (error === null ? resolve(value.CachedTag) : reject(error)),
      );
    });
  }

  /** A whole build, in the order the worker does it. */
  async build(token: string, { messages, dieBefore, push }: ReferenceBuild): Promise<ReferencePack> {
    const pack = await this.register(token);
    const metadata = { registry_url: '', base_image: 'base', base_image_tag: 'latest', pull_username: '' };
    const steps: readonly [PhaseName, () => Promise<unknown>][] = [
      ['UNPACKING', () => this.setPhase('UNPACKING')],
      ['PULLING', () => this.setPhase('PULLING', metadata)],
      ['PULLING', () => this.setPhase('PULLING')],
      ['PULLING', () => this.cachedTag()],
      ['BUILDING', () => this.setPhase('BUILDING')],
      ['BUILDING', () => this.#say(messages)],
      ['PUSHING', () => this.setPhase('PUSHING')],
      ['PUSHING', async () => await push?.(pack)],
      ['COMPLETE', () => this.setPhase('COMPLETE')],
    ];
    for (const [phase, step] of steps) {
      if (phase === dieBefore) break;
      await this.beat();
      await step();
    }
    this.close();
    return pack;
  }

  close(): void {
    this.#log.cancel();
    this.#heartbeat?.cancel();
    this.#client.close();
  }

  async #say(messages: readonly string[]): Promise<void> {
    for (const message of messages) {
      const { success } = await this.log(message);
      if (!success) throw new Error('a log message was refused');
    }
  }
}

function deadline(): { deadline: Date } {
  return { deadline: new Date(Date.now() + 10_000) };
}
