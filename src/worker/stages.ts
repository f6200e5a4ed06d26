import type { PushedImage, WorkerStage } from '../model/attempt.ts';
import type { HostKey } from '../model/host-key.ts';
import type { ManagerLink } from '../rpc/manager-link.ts';
import type { OwnedFault } from './fault.ts';
import type { LogPipe } from './log/log-pipe.ts';

export interface StageDetails {
  readonly pullMetadata?: Readonly<Record<string, string>>;
  readonly commit?: string;
  /** Of servers that the build pack did not name. */
  readonly gitHostKeys?: readonly HostKey[];
}

/**
 * Tells the manager how far the build is. A stage takes its place in the log: what was written before is stored before
 * it, what is written later after it. The build does not wait for that, so that it goes on while the manager is away.
 */
export class Stages {
  readonly #link: ManagerLink;
  readonly #pipe: LogPipe;

  constructor(link: ManagerLink, pipe: LogPipe) {
    this.#link = link;
    this.#pipe = pipe;
  }

  /** Resolves when the manager has answered, or the link has ended; nobody has to wait for it. */
  async reach(stage: WorkerStage, details: StageDetails = {}): Promise<void> {
    this.#pipe.flush();
    try {
      await this.#link.log.barrier(() => this.#link.setPhase({ kind: 'stage', stage, ...details }));
    } catch {
      // It fails only when the link has ended, which stops the whole build by itself.
    }
  }

  /** Resolves when the manager knows; rejects with RpcError. */
  async complete(image: PushedImage | undefined): Promise<void> {
    await this.#last({ kind: 'complete', ...(image === undefined ? {} : { image }) });
  }

  /** The manager writes the fault into the log, as the attempt's last entry. */
  async fail({ fault, owner }: OwnedFault): Promise<void> {
    const masked = { ...fault, message: this.#pipe.mask(fault.message) };
    await this.#last({ kind: 'error', fault: masked, owner });
  }

  /** The whole log is durable before the attempt ends, for nothing can be added to it afterwards. */
  async #last(report: Parameters<ManagerLink['setPhase']>[0]): Promise<void> {
    await this.#pipe.close();
    await this.#link.log.barrier(() => this.#link.setPhase(report));
  }
}
