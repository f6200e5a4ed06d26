import { describe, expect } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { MemoryOrchestrator } from './memory-orchestrator.ts';
import { orchestratorSuite } from './orchestrator.suite.ts';

describe('memory orchestrator', () => {
  orchestratorSuite(async () => {
    const clock = new ManualClock();
    const orchestrator = new MemoryOrchestrator({ clock, steady: () => clock.now() });
    return {
      orchestrator,
      now: () => clock.now(),
      scale: 1,
      precision: 0,
      advance: (milliseconds) => clock.advance(milliseconds),
      assertNothingLeft: async () => expect(clock.sleeping).toBe(0),
      [Symbol.asyncDispose]: async () => {
        await orchestrator.close();
        expect(clock.sleeping).toBe(0);
      },
    };
  });
});
