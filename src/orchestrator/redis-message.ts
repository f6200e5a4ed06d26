import { type AttemptId, parseAttemptId, parseBuildId } from '../model/ids.ts';
import type { OrchestratorEvent } from './orchestrator.ts';

/** What managers send each other over the channel: several things at once, in order. */
export interface RedisMessage {
  /** Who sent it, so that a manager knows its own. */
  readonly from: string;
  readonly events: readonly OrchestratorEvent[];
  /** Attempts that are over: their silence is not an expiry. */
  readonly forgotten: readonly AttemptId[];
}

export function formatMessage(message: RedisMessage): string {
  return JSON.stringify(message);
}

/** Undefined: not a message of ours. What a newer manager adds is left out. */
export function parseMessage(text: string): RedisMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || typeof value.from !== 'string') return undefined;
  return {
    from: value.from,
    events: listOf(value.events, parseEvent),
    forgotten: listOf(value.forgotten, parseAttempt),
  };
}

function listOf<T>(value: unknown, parse: (item: unknown) => T | undefined): T[] {
  if (!Array.isArray(value)) return [];
  return value.map(parse).filter((item) => item !== undefined);
}

function parseAttempt(value: unknown): AttemptId | undefined {
  return typeof value === 'string' ? parseAttemptId(value) : undefined;
}

function parseEvent(value: unknown): OrchestratorEvent | undefined {
  if (!isRecord(value)) return undefined;
  const { kind } = value;
  if (kind === 'log') {
    const buildId = typeof value.buildId === 'string' ? parseBuildId(value.buildId) : undefined;
    return buildId === undefined ? undefined : { kind, buildId };
  }
  if (kind !== 'expired' && kind !== 'cancel' && kind !== 'unserved') return undefined;
  const attemptId = parseAttempt(value.attemptId);
  return attemptId === undefined ? undefined : { kind, attemptId };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
