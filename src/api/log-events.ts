import type { Role } from '../account/accounts.ts';
import type { Clock } from '../base/clock.ts';
import type { LogStore, LogTailPage } from '../log/log-store.ts';
import type { Build } from '../model/build.ts';
import { isFinal } from '../model/phase.ts';
import type { BuildQueue } from '../queue/build-queue.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { BuildTriggers } from './build-triggers.ts';
import { type BuildView, viewWithPosition } from './build-view.ts';

/** Milliseconds between signs of life on a silent stream. */
const heartbeat = 15_000;
/** Milliseconds between looks at a build whose log is closed but that is not final yet. */
const endPoll = 500;

export interface LogEventsOptions {
  readonly build: Build;
  readonly role: Role;
  /** Position of the first entry wanted. */
  readonly start: number;
  readonly queue: BuildQueue;
  readonly triggers: BuildTriggers;
  readonly logs: LogStore;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/**
 * A build's log and phases as the text of server-sent events, ending with `end`. Whoever reads it sets the pace: the
 * next page is asked for once the last was taken. Ends early when the signal fires.
 */
export async function* logEvents(options: LogEventsOptions): AsyncGenerator<Buffer> {
  const { queue, triggers, logs, clock, metrics, role } = options;
  const closing = new AbortController();
  const signal = AbortSignal.any([options.signal, closing.signal]);
  const id = options.build.id;
  const news = new News();
  const endChanges = queue.onChange((change) => {
    if (change.buildId === id) news.tell('changed');
  });
  signal.addEventListener('abort', () => news.tell('aborted'), { once: true });
  const pages = logs.tail(id, options.start, signal)[Symbol.asyncIterator]();

  let asked = false;
  let page: LogTailPage | undefined;
  let failure: { readonly thrown: unknown } | undefined;
  let tailEnded = false;
  const askForPage = () => {
    asked = true;
    pages.next().then(
      (result) => {
        asked = false;
        if (result.done === true) tailEnded = true;
        else page = result.value;
        news.tell('page');
      },
      (thrown: unknown) => {
        asked = false;
        failure = { thrown };
        news.tell('page');
      },
    );
  };
  let ticking = false;
  const askForTick = () => {
    ticking = true;
    clock
      .sleep(tailEnded ? endPoll : heartbeat, signal)
      .catch(() => {})
      .finally(() => {
        ticking = false;
        news.tell('tick');
      });
  };

  let shown = '';
  const phaseEvent = async (): Promise<{ view: BuildView; event: Buffer | undefined } | undefined> => {
    const build = await queue.build(id);
    if (build === undefined) return undefined;
    const view = await viewWithPosition(queue, build, role, triggers);
    const text = JSON.stringify(view);
    const changed = text !== shown;
    shown = text;
    return { view, event: changed ? Buffer.from(`event: phase\ndata: ${text}\n\n`) : undefined };
  };

  metrics.logReaders.inc();
  try {
    yield Buffer.from('retry: 1000\n\n');
    news.tell('changed');
    let silent = false;
    let next = options.start;
    while (!signal.aborted) {
      if (!asked && !tailEnded && page === undefined && failure === undefined) askForPage();
      if (!ticking) askForTick();
      const what = await news.next();
      if (signal.aborted) return;
      if (failure !== undefined) throw failure.thrown;
      let look = what.has('changed') || tailEnded;
      if (page !== undefined) {
        const event = formatPage(page);
        next = page.start + page.count;
        look ||= page.hasPhase;
        page = undefined;
        silent = false;
        if (event !== undefined) {
          metrics.logBytesSent.inc(event.byteLength);
          yield event;
        }
      }
      const waited = silent && what.has('tick');
      if (waited) {
        yield Buffer.from(': waiting\n\n');
        look = true;
      }
      if (what.has('tick')) silent = true;
      if (!look) continue;
      const now = await phaseEvent();
      // The build was deleted, and its log with it.
      if (now === undefined) return;
      if (now.event !== undefined) yield now.event;
      if (!isFinal(now.view.phase)) continue;
      // A log that nobody closed, because its manager died at that moment, must not hold the reader for ever; but
      // silence may also be the reader's own, who took nothing for so long, and then there is more to read.
      const forgotten = waited && (await logs.read(id, next, 0)).total <= next;
      if (tailEnded || forgotten) {
        yield Buffer.from(`event: end\ndata: ${JSON.stringify(now.view)}\n\n`);
        return;
      }
    }
  } finally {
    metrics.logReaders.dec();
    closing.abort();
    endChanges();
    await pages.return?.();
  }
}

function formatPage(page: LogTailPage): Buffer | undefined {
  if (page.count === 0) return undefined;
  const next = page.start + page.count;
  return page.json(`id: ${next}\nevent: log\ndata: {"start":${page.start},"logs":[`, ']}\n\n');
}

type Kind = 'page' | 'changed' | 'tick' | 'aborted';

/** What happened since it was asked last; one reader. */
class News {
  readonly #kinds = new Set<Kind>();
  #wake: (() => void) | undefined;

  tell(kind: Kind): void {
    this.#kinds.add(kind);
    this.#wake?.();
    this.#wake = undefined;
  }

  async next(): Promise<ReadonlySet<Kind>> {
    if (this.#kinds.size === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const kinds = new Set(this.#kinds);
    this.#kinds.clear();
    return kinds;
  }
}
