import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';

/** Times are milliseconds since 1970. */
const executorSchema = Type.Object({
  name: Type.String(),
  type: Type.String(),
  rules: Type.Object({
    minimumRetryThreshold: Type.Integer(),
    namespaceWhitelist: Type.Optional(Type.Array(Type.String())),
    stagedRollout: Type.Optional(Type.Number()),
    platforms: Type.Optional(Type.Array(Type.String())),
    /** By its configuration. */
    cordoned: Type.Boolean(),
  }),
  maxWorkers: Type.Optional(Type.Integer()),
  /** Workers it says that it runs; absent: it does not say. */
  running: Type.Optional(Type.Integer()),
  breaker: Type.Object({
    kind: Type.Union([Type.Literal('closed'), Type.Literal('open'), Type.Literal('half-open')]),
    since: Type.Optional(Type.Integer()),
    until: Type.Optional(Type.Integer()),
  }),
  lastStart: Type.Optional(Type.Integer()),
  /** The newest first; without secrets. */
  failures: Type.Array(Type.Object({ at: Type.Integer(), code: Type.String(), message: Type.String() })),
});

const reportSchema = Type.Object({
  /** In the order in which they are asked. */
  executors: Type.Array(executorSchema),
  /** No worker can be started, for what some build needs. */
  alerts: Type.Array(
    Type.Object({ since: Type.Integer(), message: Type.String(), executors: Type.Array(Type.String()) }),
  ),
});

/** How one executor does, as one manager finds it. */
export type ExecutorReport = Static<typeof executorSchema>;

/** What one manager has to say of its executors. */
export type FleetReport = Static<typeof reportSchema>;

/** Undefined: it was written by another version. */
export function parseReport(text: string): FleetReport | undefined {
  try {
    const report: unknown = JSON.parse(text);
    return Value.Check(reportSchema, report) ? report : undefined;
  } catch {
    return undefined;
  }
}
