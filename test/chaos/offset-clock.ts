import { type Clock, systemClock } from '../../src/base/clock.ts';

/** The machine's clock as a machine has it whose time of day was set wrong. Waiting takes as long as ever. */
export class OffsetClock implements Clock {
  /** Milliseconds. */
  offset = 0;

  now(): number {
    return systemClock.now() + this.offset;
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(milliseconds, signal);
  }
}
