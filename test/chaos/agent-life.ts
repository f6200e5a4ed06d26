import { systemClock as clock } from '../../src/base/clock.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { ManagerLink } from '../../src/rpc/manager-link.ts';
import { type AgentResult, runAgent } from '../../src/worker/agent.ts';
import { Workspace } from '../../src/worker/workspace.ts';
import { AttemptEngine } from './attempt-engine.ts';
import type { HostConfig } from './hosted-workers.ts';

export interface AgentLife {
  readonly order: WorkerOrder;
  readonly config: Pick<HostConfig, 'doors' | 'folder'>;
  /** What it says of itself when it registers. */
  readonly version: 'chaos' | 'chaos-process';
}

/** The product's agent with the dummy engine, from its registration to its end. */
export async function runAgentOf(
  { order, config, version }: AgentLife,
  signal: AbortSignal,
): Promise<AgentResult> {
  const say = (text: string) => console.log(`${new Date().toISOString()} ${order.attemptId} ${text}`);
  return await runAgent(
    {
      link: new ManagerLink({ server: `127.0.0.1:${doorOf(order, config.doors)}`, clock, log: say }),
      registrationToken: order.token,
      capabilities: {
        version,
        logBatches: true,
        pushesByDigest: true,
        engine: 'dummy',
        platform: 'linux/amd64',
      },
      loadEngine: async () => new AttemptEngine({ attemptId: order.attemptId, clock }),
      makeWorkspace: () => Workspace.create(undefined, config.folder),
      keepWorkspace: false,
      clock,
      log: say,
    },
    signal,
  );
}

/** Each worker takes one door, always the same, so that not all share one connection. */
export function doorOf({ attemptId }: Pick<WorkerOrder, 'attemptId'>, doors: readonly number[]): number {
  const door = doors[Number.parseInt(attemptId.slice(-8), 16) % doors.length];
  if (door === undefined) throw new Error('a worker host without doors');
  return door;
}
