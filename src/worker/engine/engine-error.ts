import { CodedError } from '../../base/coded-error.ts';
import { type FaultOwner, ownerOf } from '../../model/fault.ts';

/**
 * How an engine fails; the meanings are those of the fault table, which also says whose fault each is.
 * `cancelled` is nobody's: the caller's AbortSignal fired.
 */
export type EngineErrorCode =
  | 'dockerfileissue'
  | 'cannotpullbaseimage'
  | 'baseimageregistry'
  | 'builderror'
  | 'outofmemory'
  | 'pushissue'
  | 'diskfull'
  | 'enginemissing'
  | 'enginefailed'
  | 'cancelled';

/** What the engine layer throws. The message holds no secret: it is shown to the owner of the build. */
export class EngineError extends CodedError<EngineErrorCode> {
  /** Whose fault it is; undefined for a cancel. */
  get owner(): FaultOwner | undefined {
    return this.code === 'cancelled' ? undefined : ownerOf(this.code);
  }
}

export function cancelled(signal: AbortSignal): EngineError {
  return new EngineError('cancelled', 'The build was cancelled while the engine was running.', signal.reason);
}

export function throwIfCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw cancelled(signal);
}
