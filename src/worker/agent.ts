import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import type { ReceivedBuildPack, WorkerCapabilities } from '../rpc/build-pack.ts';
import type { ManagerLink } from '../rpc/manager-link.ts';
import { RpcError } from '../rpc/rpc-error.ts';
import { runAttempt } from './attempt.ts';
import type { Engine } from './engine/engine.ts';
import type { WorkerEnd } from './worker-end.ts';
import type { Workspace } from './workspace.ts';

export interface AgentOptions {
  readonly link: ManagerLink;
  readonly registrationToken: string;
  readonly capabilities: WorkerCapabilities;
  /** Called when the manager knows of this worker: it is much code. */
  readonly loadEngine: () => Promise<Engine>;
  readonly makeWorkspace: () => Promise<Workspace>;
  readonly keepWorkspace: boolean;
  readonly clock: Clock;
  /** The worker's own messages, for an operator; holds no secret. */
  readonly log: (text: string) => void;
}

export interface AgentResult {
  readonly end: WorkerEnd;
  /** The manager had handed over the build pack. */
  readonly registered: boolean;
}

/**
 * A worker's whole life: register, build, report, clean up. It never throws. What ends it early:
 *
 * | what                                | then                                                            |
 * |-------------------------------------|-----------------------------------------------------------------|
 * | the source or the engine fails      | reported as ERROR with code, message and owner                  |
 * | longer than the pack allows         | the engine is stopped; reported as `toolong`                    |
 * | `signal` fires                      | the engine is stopped; nothing is reported, the manager sees it |
 * | the link ends (cancelled, refused,  | the engine is stopped; nothing can be reported                  |
 * | manager away for too long)          |                                                                 |
 *
 * While the manager is away for less than that, the build goes on, and what it has to say waits.
 */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<AgentResult> {
  const { link, log } = options;
  const onSignal = (): void => void link.close();
  signal.addEventListener('abort', onSignal, { once: true });
  const workspace = options.makeWorkspace();
  workspace.catch(() => {});
  let registered = false;
  try {
    await link.connect();
    const pack: ReceivedBuildPack = await link.register(options.registrationToken, options.capabilities);
    registered = true;
    log(`registered for build ${pack.identity.buildId}, attempt ${pack.identity.attemptId}`);
    return { registered, end: await runAttempt({ ...options, pack, workspace }, signal) };
  } catch (thrown) {
    return { registered, end: endOf(thrown, signal) };
  } finally {
    signal.removeEventListener('abort', onSignal);
    await link.close();
    await workspace
      .then(
        async (made) => (options.keepWorkspace ? undefined : await made.remove()),
        () => {},
      )
      .catch((thrown: unknown) => log(`the workspace could not be removed: ${messageOf(thrown)}`));
  }
}

function endOf(thrown: unknown, signal: AbortSignal): WorkerEnd {
  if (signal.aborted) return { kind: 'stopped' };
  if (thrown instanceof RpcError) return { kind: 'released', reason: thrown };
  return {
    kind: 'released',
    reason: new RpcError(
      'protocol',
      `The worker failed before it could report: ${messageOf(thrown)}`,
      thrown,
    ),
  };
}
