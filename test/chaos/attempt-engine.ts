import type { Clock } from '../../src/base/clock.ts';
import { DummyEngine } from '../../src/worker/engine/dummy.ts';
import type { BuiltImage, EngineBuild, EngineEvents } from '../../src/worker/engine/engine.ts';

/** What the first line of every attempt's output begins with. */
export const attemptMark = 'chaos attempt ';
/** The label that tells which attempt an image is from. */
export const attemptLabel = 'chaos.attempt';

/**
 * The dummy engine, with the attempt's id at the begin of its output and in its image: so each attempt has a digest of
 * its own, and the log tells whose lines are whose.
 */
export class AttemptEngine extends DummyEngine {
  readonly #attemptId: string;

  constructor({ attemptId, clock }: { readonly attemptId: string; readonly clock: Clock }) {
    super({ clock });
    this.#attemptId = attemptId;
  }

  override async build(request: EngineBuild, events: EngineEvents, signal: AbortSignal): Promise<BuiltImage> {
    await events.write(Buffer.from(`${attemptMark}${this.#attemptId}\n`));
    const labels = new Map([...request.labels, [attemptLabel, this.#attemptId]]);
    return await super.build({ ...request, labels }, events, signal);
  }
}
