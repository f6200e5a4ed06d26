import { setTimeout as sleep } from 'node:timers/promises';
import { backOff } from '../../src/base/back-off.ts';
import { messageOf } from '../../src/base/coded-error.ts';
import type { Cluster } from './cluster.ts';
import { numberOf, type PlannedBuild, type Schedule } from './schedule.ts';
import { workOf } from './work.ts';

/** A build that the API accepted. */
export interface Accepted {
  readonly planned: PlannedBuild;
  readonly id: string;
}

const requestLimit = 10_000;
/** Requests under way: clients are many, but each has few. */
const mostAtOnce = 16;

/**
 * Asks for the builds of the schedule, and cancels some, over REST as any client does. A request whose answer does not
 * come is sent again under the same idempotency key, until a manager answers.
 */
export class Load {
  readonly #cluster: Cluster;
  readonly #schedule: Schedule;
  readonly accepted = new Map<number, Accepted>();
  /** Answers that no client should get. */
  readonly failures: string[] = [];
  /** Indexes of builds whose cancel was answered with success. */
  readonly cancelled = new Set<number>();
  /** Why a request was sent again, the last time. */
  lastTrouble = '';
  #asking = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(cluster: Cluster, schedule: Schedule) {
    this.#cluster = cluster;
    this.#schedule = schedule;
  }

  /** Resolves when every build was accepted and every cancel answered. */
  async run(signal: AbortSignal): Promise<void> {
    const begun = Date.now();
    await Promise.all(
      this.#schedule.builds.map(async (planned) => {
        await sleep(Math.max(0, begun + planned.at - Date.now()), undefined, { signal });
        const id = await this.#request(planned, signal);
        this.accepted.set(planned.index, { planned, id });
        if (planned.cancelAfter === undefined) return;
        await sleep(planned.cancelAfter, undefined, { signal });
        await this.#cancel({ planned, id }, signal);
      }),
    );
  }

  async #request(planned: PlannedBuild, signal: AbortSignal): Promise<string> {
    // One step after the other: an upload that is stored is not stored again because a later answer was lost.
    const drop = await this.#untilAnswered(signal, () =>
      this.#ask<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', { mimeType: 'text/plain' }),
    );
    await this.#untilAnswered(signal, async () => {
      const stored = await fetch(new URL(drop.url, this.#cluster.url), {
        method: 'PUT',
        body: workOf(planned).dockerfile,
        headers: { 'content-type': 'text/plain' },
        signal: AbortSignal.timeout(requestLimit),
      });
      const text = await stored.text();
      // 409: it is stored, and the answer that said so was lost.
      if (!stored.ok && stored.status !== 409)
        throw new Unanswered(`PUT of an upload: ${stored.status} ${text}`);
    });
    const { id } = await this.#untilAnswered(signal, () =>
      this.#ask<{ id: string }>(
        'POST',
        `/api/v1/repository/${planned.namespace}/${planned.repository}/build/`,
        {
          file_id: drop.file_id,
          docker_tags: planned.tags,
          labels: { 'chaos.build': String(numberOf(planned)) },
          push: planned.nature !== 'unpushed',
          newest_only: planned.line !== undefined,
          ...(planned.secret === undefined
            ? {}
            : { secrets: { word: Buffer.from(planned.secret).toString('base64') } }),
        },
        { 'idempotency-key': `chaos ${this.#schedule.seed} ${planned.index}` },
      ),
    );
    return id;
  }

  async #cancel({ planned, id }: Accepted, signal: AbortSignal): Promise<void> {
    const path = `/api/v1/repository/${planned.namespace}/${planned.repository}/build/${id}`;
    await this.#untilAnswered(signal, async () => {
      const answer = await this.#send('DELETE', path);
      const text = await answer.text();
      if (answer.ok) this.cancelled.add(planned.index);
      // 400: it has ended already, as every answer says that is sent again after one that was lost.
      else if (answer.status !== 400) throw new Unanswered(`${answer.status} ${text}`);
    });
  }

  async #ask<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const answer = await this.#send(method, path, body, headers);
    const text = await answer.text();
    if (answer.status >= 400 && answer.status < 500 && answer.status !== 429 && answer.status !== 409)
      this.failures.push(`${method} ${path}: ${answer.status} ${text}`);
    if (!answer.ok) throw new Unanswered(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as T;
  }

  async #send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    return await fetch(new URL(path, this.#cluster.url), {
      method,
      headers: {
        authorization: `Bearer ${this.#cluster.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(requestLimit),
    });
  }

  async #untilAnswered<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    for (let tries = 0; ; tries += 1) {
      await this.#enter(signal);
      try {
        return await ask();
      } catch (thrown) {
        // Managers are away, or the database is: a client tries again.
        this.lastTrouble = messageOf(thrown);
      } finally {
        this.#leave();
      }
      await sleep(backOff(tries, { first: 500, cap: 5_000 }), undefined, { signal });
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    while (this.#asking >= mostAtOnce) {
      signal.throwIfAborted();
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    signal.throwIfAborted();
    this.#asking += 1;
  }

  #leave(): void {
    this.#asking -= 1;
    this.#waiting.shift()?.();
  }
}

class Unanswered extends Error {}
