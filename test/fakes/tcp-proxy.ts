import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

export interface TcpProxyOptions {
  /** Ports on loopback behind the proxy. Each connection goes to the next one that accepts it. */
  readonly targets: readonly number[];
  /** Ports to listen on: so many paths that lead to the same targets. */
  readonly doors?: number;
  /**
   * A connection on which the near side once says this hears the answer to it, and then nothing more: what the far side
   * says is lost, and no side is told.
   */
  readonly deafAfter?: string;
}

/**
 * What happens to bytes on their way, in both directions:
 *
 * | weather | connections there are | new connections                 |
 * |---------|-----------------------|---------------------------------|
 * | fair    | pass                  | pass                            |
 * | slow    | every piece is held back for `delay` milliseconds, order kept | as well |
 * | stalled | nothing passes; no side is told | accepted, nothing passes |
 * | cut     | were reset            | are reset                       |
 */
export type Weather =
  | { readonly kind: 'fair' }
  | { readonly kind: 'slow'; readonly delay: number }
  | { readonly kind: 'stalled' }
  | { readonly kind: 'cut' };

interface Passage {
  readonly near: Socket;
  readonly far: Socket;
  hearing: 'all' | 'one-answer' | 'nothing';
}

/** A TCP proxy on loopback that can be told to behave like a bad network. */
export class TcpProxy implements AsyncDisposable {
  readonly #targets: readonly number[];
  readonly #deafAfter: string | undefined;
  readonly #servers: Server[] = [];
  readonly #open = new Set<Passage>();
  readonly #waiting = new Set<() => void>();
  readonly #running = new Set<Promise<void>>();
  #weather: Weather = { kind: 'fair' };
  #next = 0;
  #closed = false;

  private constructor({ targets, deafAfter }: TcpProxyOptions) {
    this.#targets = targets;
    this.#deafAfter = deafAfter;
  }

  static async open(options: TcpProxyOptions): Promise<TcpProxy> {
    const proxy = new TcpProxy(options);
    const { doors = 1 } = options;
    for (let door = 0; door < doors; door += 1) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => proxy.#accept(near));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      proxy.#servers.push(server);
    }
    return proxy;
  }

  get ports(): readonly number[] {
    return this.#servers.map((server) => (server.address() as AddressInfo).port);
  }

  get port(): number {
    const [first] = this.ports;
    if (first === undefined) throw new Error('the proxy is closed');
    return first;
  }

  get connections(): number {
    return this.#open.size;
  }

  set(weather: Weather): void {
    this.#weather = weather;
    if (weather.kind === 'cut') this.reset(() => true);
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }

  /** Resets the connections that `chosen` picks; both sides get an error. */
  reset(chosen: () => boolean): void {
    for (const { near, far } of [...this.#open]) {
      if (!chosen()) continue;
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  #accept(near: Socket): void {
    near.on('error', () => {});
    if (this.#weather.kind === 'cut' || this.#closed) {
      near.resetAndDestroy();
      return;
    }
    const passing = this.#pass(near).finally(() => this.#running.delete(passing));
    this.#running.add(passing);
  }

  async #pass(near: Socket): Promise<void> {
    const far = await this.#reach();
    if (far === undefined || near.destroyed || this.#closed) {
      far?.destroy();
      near.resetAndDestroy();
      return;
    }
    const passage: Passage = { near, far, hearing: 'all' };
    this.#open.add(passage);
    // An error of either side is the end of both, as if they were one connection.
    await Promise.allSettled([
      pipeline(
        near,
        (pieces: AsyncIterable<Buffer>) => this.#carry(this.#overhear(pieces, passage), passage),
        far,
      ),
      pipeline(
        far,
        (pieces: AsyncIterable<Buffer>) => this.#carry(this.#deafen(pieces, passage), passage),
        near,
      ),
    ]);
    near.destroy();
    far.destroy();
    this.#open.delete(passage);
  }

  /** Undefined: no target accepts connections. */
  async #reach(): Promise<Socket | undefined> {
    for (let tried = 0; tried < this.#targets.length; tried += 1) {
      const port = this.#targets[this.#next++ % this.#targets.length];
      if (port === undefined) return undefined;
      const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
      far.on('error', () => {});
      const connected = await new Promise<boolean>((resolve) => {
        far.once('connect', () => resolve(true));
        far.once('close', () => resolve(false));
      });
      if (connected) return far;
    }
    return undefined;
  }

  async *#overhear(pieces: AsyncIterable<Buffer>, passage: Passage): AsyncGenerator<Buffer> {
    const words = this.#deafAfter;
    for await (const piece of pieces) {
      if (words !== undefined && passage.hearing === 'all' && piece.includes(words))
        passage.hearing = 'one-answer';
      yield piece;
    }
  }

  async *#deafen(pieces: AsyncIterable<Buffer>, passage: Passage): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      if (passage.hearing !== 'nothing') yield piece;
      if (passage.hearing === 'one-answer') passage.hearing = 'nothing';
    }
  }

  async *#carry(pieces: AsyncIterable<Buffer>, passage: Passage): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      const weather = this.#weather;
      if (weather.kind === 'slow') await sleep(weather.delay);
      while (this.#weather.kind === 'stalled' && !passage.near.destroyed) {
        await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
      yield piece;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)));
    this.reset(() => true);
    this.set({ kind: 'fair' });
    await Promise.all([...this.#running, ...closed]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
