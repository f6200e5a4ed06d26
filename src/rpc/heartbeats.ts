import { backOff } from '../base/back-off.ts';
import type { HeartbeatRequest, HeartbeatResponse } from './generated/buildman.ts';
import { type LinkStream, type StreamOptions, settled } from './link-stream.ts';
import { RpcError } from './rpc-error.ts';

/** So many refused heartbeats in a row mean that the attempt belongs to nobody, or to somebody else. */
const refusalsToStop = 3;
/** Heartbeats without an answer before the stream is taken for dead. */
const patience = 5;

/** Tells the manager that this worker lives, and hears from it whether it shall. */
export class Heartbeats {
  readonly #options: StreamOptions & { readonly every: number };
  #refusals = 0;
  #lastAnswer = 0;
  stopped: Promise<void> = Promise.resolve();

  constructor(options: StreamOptions & { readonly every: number }) {
    this.#options = options;
  }

  start(): void {
    this.stopped = this.#run();
  }

  async #run(): Promise<void> {
    const { ended, clock, onFailure } = this.#options;
    for (let tries = 0; !ended.aborted; tries++) {
      const before = this.#lastAnswer;
      const failure = await this.#oneStream();
      if (ended.aborted) return;
      if (this.#lastAnswer !== before) tries = 0;
      onFailure(failure);
      await clock.sleep(backOff(tries, { first: 100, cap: 2_000 }), ended).catch(() => {});
    }
  }

  /** Lives as long as one stream; returns why it ended. */
  async #oneStream(): Promise<unknown> {
    const { client, token, clock, every, ended } = this.#options;
    const call: LinkStream<HeartbeatRequest, HeartbeatResponse> = client.heartbeat();
    const over = settled(call, ended);
    call.on('data', (response: HeartbeatResponse) => this.#onAnswer(response));
    const stop = new AbortController();
    let failure: unknown;
    void over.then((reason) => {
      failure = reason;
      stop.abort();
    });
    let lastSent = clock.now();
    this.#lastAnswer = lastSent;
    while (!stop.signal.aborted) {
      lastSent = clock.now();
      if (lastSent - this.#lastAnswer > patience * every) call.cancel();
      else call.write({ jobJwt: token });
      await clock.sleep(every, stop.signal).catch(() => {});
    }
    return failure;
  }

  #onAnswer({ reply, cancel }: HeartbeatResponse): void {
    const { onAnswer, onEnd, clock } = this.#options;
    this.#lastAnswer = clock.now();
    onAnswer();
    if (cancel) {
      onEnd(new RpcError('cancelled', 'The build manager cancelled the build.'));
      return;
    }
    this.#refusals = reply ? 0 : this.#refusals + 1;
    if (this.#refusals >= refusalsToStop) {
      onEnd(
        new RpcError('refused', 'The build manager does not count this attempt as this worker’s any more.'),
      );
    }
  }
}
