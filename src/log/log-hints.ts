import type { BuildId } from '../model/ids.ts';

/**
 * Tells other managers that a log has grown or was closed, so that their readers look at once. May lose hints:
 * readers also poll.
 */
export interface LogHints {
  tell(buildId: BuildId): void;
  listen(wake: (buildId: BuildId) => void): () => void;
}
