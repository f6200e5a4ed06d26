import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { ExecutorError } from '../executor-error.ts';

export interface CoreosAmiOptions {
  readonly executor: string;
  /** COREOS_CHANNEL */
  readonly channel: string;
  readonly region: string;
  readonly instanceType: string;
  /** Where `CHANNEL.json` is; the project's own unless given. */
  readonly streams?: string;
  readonly clock: Clock;
}

const publicStreams = 'https://builds.coreos.fedoraproject.org/streams';
const keptFor = 3_600_000;
/** Milliseconds until a list that could not be had is asked for again while there is an older one. */
const retryAfter = 60_000;
const timeout = 8_000;
const largest = 4 * 1024 * 1024;

/** The processor of an instance type: `t4g.large` and `c7gn.xlarge` are ARM's, `g4dn.xlarge` and `t3.large` are not. */
export function architectureOf(instanceType: string): 'x86_64' | 'aarch64' {
  return /^(?:a1|[a-z]+\d+g[a-z]*)[.-]/.test(instanceType) ? 'aarch64' : 'x86_64';
}

/** The newest image of Fedora CoreOS in a region. Looked up once an hour; an older answer is better than none. */
export class CoreosAmi {
  readonly #options: CoreosAmiOptions;
  #known: string | undefined;
  #goodUntil = 0;
  #looking: Promise<string> | undefined;

  constructor(options: CoreosAmiOptions) {
    this.#options = options;
  }

  /** Throws ExecutorError `unavailable` or `misconfigured`. */
  async find(): Promise<string> {
    if (this.#known !== undefined && this.#options.clock.now() < this.#goodUntil) return this.#known;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return await this.#looking;
  }

  /** What was found is no good: it is looked up again. */
  forget(): void {
    this.#known = undefined;
  }

  async #look(): Promise<string> {
    const { clock } = this.#options;
    try {
      this.#known = await this.#fetch();
      this.#goodUntil = clock.now() + keptFor;
    } catch (thrown) {
      if (this.#known === undefined) throw thrown;
      this.#goodUntil = clock.now() + retryAfter;
    }
    return this.#known;
  }

  async #fetch(): Promise<string> {
    const { executor, channel, region, instanceType, streams = publicStreams } = this.#options;
    const url = `${streams}/${encodeURIComponent(channel)}.json`;
    let stream: unknown;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(timeout) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      const text = await response.text();
      if (text.length > largest) throw new Error('it is too long');
      stream = JSON.parse(text);
    } catch (thrown) {
      throw new ExecutorError(
        'unavailable',
        `Executor ${executor} could not look up the image of its instances at ${url} (${messageOf(thrown)}). ` +
          'Let this server reach it, or name an image in COREOS_AMI.',
      );
    }
    const architecture = architectureOf(instanceType);
    const path = ['architectures', architecture, 'images', 'aws', 'regions', region, 'image'];
    const image = path.reduce(
      (at, key) =>
        typeof at === 'object' && at !== null && Object.hasOwn(at, key)
          ? (at as Record<string, unknown>)[key]
          : undefined,
      stream,
    );
    if (typeof image === 'string' && /^ami-[0-9a-f]{8,17}$/.test(image)) return image;
    throw new ExecutorError(
      'misconfigured',
      `Fedora CoreOS ${channel} has no image for ${architecture} in ${region} (executor ${executor}). ` +
        'Correct EC2_REGION or EC2_INSTANCE_TYPE, or name an image in COREOS_AMI.',
    );
  }
}
