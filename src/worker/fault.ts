import { messageOf } from '../base/coded-error.ts';
import { type Fault, type FaultCode, type FaultOwner, ownerOf } from '../model/fault.ts';
import { EngineError } from './engine/engine-error.ts';
import { fromFileSystem, SourceError } from './source/source-error.ts';

export interface OwnedFault {
  readonly fault: Fault;
  readonly owner: FaultOwner;
}

export function ownedFault(code: FaultCode, message: string): OwnedFault {
  return { fault: { code, message }, owner: ownerOf(code) };
}

/** The codes of both layers are those of the fault table, but for `cancelled`, which the caller has dealt with. */
export function faultOf(thrown: unknown): OwnedFault {
  if ((thrown instanceof EngineError || thrown instanceof SourceError) && thrown.code !== 'cancelled') {
    return ownedFault(thrown.code, thrown.message);
  }
  if (thrown instanceof Error && 'errno' in thrown)
    return faultOf(fromFileSystem(thrown, 'work in its folders'));
  return ownedFault(
    'internalerror',
    `The worker failed: ${messageOf(thrown)}. Build again; if it fails again, tell an administrator.`,
  );
}
