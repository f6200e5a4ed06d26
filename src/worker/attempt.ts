import type { Clock } from '../base/clock.ts';
import type { ReceivedBuildPack } from '../rpc/build-pack.ts';
import type { ManagerLink } from '../rpc/manager-link.ts';
import { RpcError } from '../rpc/rpc-error.ts';
import type { Engine } from './engine/engine.ts';
import { faultOf, type OwnedFault, ownedFault } from './fault.ts';
import { LogPipe } from './log/log-pipe.ts';
import { Stages } from './stages.ts';
import type { WorkerEnd } from './worker-end.ts';
import type { Workspace } from './workspace.ts';

export interface AttemptOptions {
  readonly link: ManagerLink;
  readonly pack: ReceivedBuildPack;
  readonly loadEngine: () => Promise<Engine>;
  readonly workspace: Promise<Workspace>;
  readonly clock: Clock;
  readonly log: (text: string) => void;
}

/** Milliseconds that the build waits at most for the first answer of the manager. */
const loadingPatience = 200;

/** From build pack to reported outcome. Throws only what is no outcome of a build: the RpcError of a link that ended. */
export async function runAttempt(options: AttemptOptions, signal: AbortSignal): Promise<WorkerEnd> {
  const { link, pack, clock, log } = options;
  const pipe = new LogPipe({ sink: link.log, secrets: secretsOf(pack), clock });
  const stages = new Stages(link, pipe);
  const limit = new TimeLimit(pack.maxSeconds, clock);
  const stop = AbortSignal.any([signal, link.ended, limit.reached]);
  try {
    // Loading code keeps the one thread busy, so the first sign of progress goes out before.
    await Promise.race([stages.reach('unpacking'), clock.sleep(loadingPatience)]);
    const [{ build }, engine] = await Promise.all([import('./build.ts'), options.loadEngine()]);
    const image = await build({
      pack,
      engine,
      workspace: await options.workspace,
      pipe,
      stages,
      clock,
      signal: stop,
    });
    limit.lift();
    await stages.complete(image);
    log(image === undefined ? 'complete, nothing was to be pushed' : `complete: ${image.digest}`);
    return { kind: 'complete' };
  } catch (thrown) {
    if (signal.aborted) return { kind: 'stopped' };
    if (link.ended.aborted) throw link.ended.reason;
    if (thrown instanceof RpcError) throw thrown;
    const owned = limit.reached.aborted ? tooLong(pack.maxSeconds) : faultOf(thrown);
    log(`failed (${owned.fault.code}): ${owned.fault.message}`);
    await stages.fail(owned);
    return { kind: 'failed', ...owned };
  } finally {
    limit.lift();
    await pipe.close();
  }
}

/** Timers take no more; nobody waits that long. */
const longestLimit = 2_000_000;

/** Ends the build when it takes longer than the manager lets it; a limit of 0 never does. */
class TimeLimit {
  readonly #reached = new AbortController();
  readonly #lifted = new AbortController();

  constructor(seconds: number, clock: Clock) {
    if (seconds <= 0 || seconds > longestLimit) return;
    clock.sleep(seconds * 1000, this.#lifted.signal).then(
      () => this.#reached.abort(),
      () => {},
    );
  }

  get reached(): AbortSignal {
    return this.#reached.signal;
  }

  lift(): void {
    this.#lifted.abort();
  }
}

function tooLong(seconds: number): OwnedFault {
  return ownedFault(
    'toolong',
    `The build ran longer than ${seconds} s, the most that is allowed, and was stopped. Make it do less, or have an administrator raise MACHINE_MAX_TIME.`,
  );
}

/** All that was handed over for this build and that its log must not show. */
function secretsOf(pack: ReceivedBuildPack): Uint8Array[] {
  const texts = [pack.pullToken, pack.pushToken, pack.baseImage?.password ?? ''];
  // Together as well: so they stand, encoded, in the engine's file of credentials.
  for (const { username, password } of pack.registryCredentials)
    texts.push(password, `${username}:${password}`);
  if (pack.source.kind === 'git')
    texts.push(pack.source.privateKey ?? '', pack.source.token ?? '', ...credentialsIn(pack.source.url));
  else texts.push(...credentialsIn(pack.source.url));
  return [...texts.map((text) => Buffer.from(text)), ...pack.secrets.map(({ value }) => value)];
}

/** A password in a URL, and the values of its query: signed URLs carry their signature there. */
function credentialsIn(text: string): string[] {
  if (!URL.canParse(text)) return [];
  const url = new URL(text);
  const long = [...url.searchParams.values()].filter((value) => value.length >= 16);
  return [url.password, decodeURIComponent(url.password), ...long];
}
