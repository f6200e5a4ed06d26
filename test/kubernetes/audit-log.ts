import { readFileSync } from 'node:fs';

/** One answered call, as the API server itself recorded it. */
export interface AuditedCall {
  readonly user: string;
  readonly verb: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly uri: string;
  readonly status: number;
  /** Milliseconds since 1970, when the call came in. */
  readonly at: number;
}

/**
 * Everybody's calls but those of the control plane's own parts and of nodes. A watch is there when it has begun to answer
 * and again when it has ended.
 */
export const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    {
      level: 'None',
      users: ['system:apiserver', 'system:kube-controller-manager', 'system:kube-scheduler'],
    },
    { level: 'None', userGroups: ['system:nodes', 'system:serviceaccounts:kube-system'] },
    { level: 'Metadata' },
  ],
};

interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username?: string };
  readonly objectRef?: {
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

/** Each call once: a watch by its beginning. */
export function readAuditLog(file: string): readonly AuditedCall[] {
  const calls: AuditedCall[] = [];
  // The last line may be half written.
  for (const line of readFileSync(file, 'utf8').split('\n').slice(0, -1)) {
    const event = JSON.parse(line) as AuditEvent;
    const first = event.verb === 'watch' ? 'ResponseStarted' : 'ResponseComplete';
    const refusedWatch = event.verb === 'watch' && (event.responseStatus?.code ?? 200) >= 400;
    if (event.stage !== first && !refusedWatch) continue;
    const { resource = '', subresource, namespace, name } = event.objectRef ?? {};
    calls.push({
      user: event.user.username ?? '',
      verb: event.verb,
      resource,
      ...(subresource === undefined ? {} : { subresource }),
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      uri: event.requestURI,
      status: event.responseStatus?.code ?? 0,
      at: Date.parse(event.requestReceivedTimestamp),
    });
  }
  return calls;
}
