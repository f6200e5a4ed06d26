import { unreachable } from '../base/unreachable.ts';
import type { Fault } from '../model/fault.ts';
import type { Phase } from '../model/phase.ts';
import type { CommitStatus } from './git-host.ts';

/** What hosts take at most; GitHub refuses more than 140. */
const longestDescription = 140;

/** How a build is told to its host. */
export function commitStatusOf(
  phase: Phase,
  fault: Fault | undefined,
): Pick<CommitStatus, 'state' | 'description'> {
  switch (phase) {
    case 'waiting':
    case 'build-scheduled':
    case 'unpacking':
    case 'pulling':
    case 'building':
    case 'pushing':
      return { state: 'pending', description: 'The image is being built.' };
    case 'complete':
      return { state: 'success', description: 'The image was built.' };
    case 'error':
      return { state: 'failure', description: described('The build failed', fault) };
    case 'internalerror':
    case 'expired':
      return { state: 'error', description: described('The build could not be carried out', fault) };
    case 'cancelled':
      return { state: 'error', description: 'The build was cancelled.' };
    default:
      return unreachable(phase);
  }
}

function described(what: string, fault: Fault | undefined): string {
  const [line = ''] = (fault?.message ?? '').split('\n');
  const text = line === '' ? `${what}.` : `${what}: ${line}`;
  return text.length <= longestDescription
    ? text.toWellFormed()
    : `${text.slice(0, longestDescription - 1).toWellFormed()}…`;
}
