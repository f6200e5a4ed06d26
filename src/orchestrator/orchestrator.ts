import type { AttemptId } from '../model/ids.ts';

/** Something that happened to a running attempt, told to every manager. A hint: the database is the truth. */
export type OrchestratorEvent =
  | { readonly kind: 'expired'; readonly attemptId: AttemptId }
  | { readonly kind: 'cancel'; readonly attemptId: AttemptId }
  /** Its worker asked for the build, and the manager could not answer: what becomes of the worker is no fault of its own. */
  | { readonly kind: 'unserved'; readonly attemptId: AttemptId }
  | { readonly kind: 'log'; readonly buildId: string };

/**
 * Tracks the heartbeats of running attempts and carries events between managers. Everything in it may vanish at any
 * time: attempts are tracked again by their next heartbeat, and expiry falls back to the lease in the database. No
 * method throws, and none waits long, whatever has become of the server behind it.
 */
export interface Orchestrator {
  /** False while the server behind it cannot be reached. Without one: always true. */
  readonly connected: boolean;
  /** A sign of life; the attempt expires when `ttl` milliseconds pass without another. */
  beat(attemptId: AttemptId, ttl: number): Promise<void>;
  /**
   * Milliseconds since 1970 of the last sign of life, when known: so long before the time of day at the moment of asking as
   * it is ago by a clock that nobody sets. As long as signs that other managers heard cannot
   * be asked for, silence proves nothing: then it is now, and afterwards not earlier than the time since when they can.
   */
  lastBeat(attemptId: AttemptId): Promise<number | undefined>;
  forget(attemptId: AttemptId): Promise<void>;
  /** The listeners of this process are told before it resolves, those of others soon after. */
  publish(event: OrchestratorEvent): Promise<void>;
  subscribe(listen: (event: OrchestratorEvent) => void): () => void;
  close(): Promise<void>;
}
