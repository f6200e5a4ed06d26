import { unreachable } from '../../base/unreachable.ts';
import type { Ec2Instance } from './ec2-api.ts';

/** Whether EC2 has this instance up, or on its way up. */
export function isUp({ state }: Ec2Instance): boolean {
  return state === 'pending' || state === 'running';
}

/** EC2's own words for it, to follow what we say. */
export function because({ why }: Ec2Instance): string {
  return why === '' ? '' : `: ${why}`;
}

/** Why a worker is gone whose instance is in this state. */
export function reasonOf(instance: Ec2Instance): string {
  const { state } = instance;
  switch (state) {
    case 'shutting-down':
    case 'terminated':
      return `The instance was terminated${because(instance)}.`;
    case 'stopping':
    case 'stopped':
      return `The instance was stopped${because(instance)}.`;
    case 'pending':
    case 'running':
      return 'The instance runs.';
    default:
      return unreachable(state);
  }
}
