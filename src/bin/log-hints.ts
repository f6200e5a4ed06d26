import type { LogHints } from '../log/log-hints.ts';
import { parseBuildId } from '../model/ids.ts';
import type { Orchestrator } from '../orchestrator/orchestrator.ts';

/** Log hints as events of the orchestrator, which carries them to the other managers. */
export function hintsOver(orchestrator: Orchestrator): LogHints {
  return {
    tell: (buildId) => void orchestrator.publish({ kind: 'log', buildId }),
    listen: (wake) =>
      orchestrator.subscribe((event) => {
        const buildId = event.kind === 'log' ? parseBuildId(event.buildId) : undefined;
        if (buildId !== undefined) wake(buildId);
      }),
  };
}
