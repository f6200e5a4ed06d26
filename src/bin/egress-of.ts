import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';

/** Guards requests to where users point; `allowPrivate` are hosts and CIDR blocks that they may lead to all the same. */
export function egressOf(allowPrivate: readonly string[]): EgressGuard {
  return new EgressGuard(
    new EgressPolicy({
      allowHosts: allowPrivate.filter((host) => !host.includes('/')),
      allowCidrs: allowPrivate.filter((host) => host.includes('/')),
    }),
  );
}
