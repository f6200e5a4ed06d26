import type { ApiClient, KubernetesObject } from './api-client.ts';

interface Variable {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: Reference;
    readonly configMapKeyRef?: Reference;
    readonly fieldRef?: { readonly fieldPath: string };
  };
}

interface Reference {
  readonly name: string;
  readonly key: string;
  readonly optional?: boolean;
}

/**
 * The environment of a pod's first container. `api` is the node's: it may read what pods of the node refer to, and nothing
 * else, so a Secret that cannot be had is an error here as it is for a kubelet.
 */
export async function podEnvironment(
  api: ApiClient,
  pod: KubernetesObject,
): Promise<Readonly<Record<string, string>>> {
  const { namespace } = pod.metadata;
  const read = async (kind: string, { name, key, optional }: Reference): Promise<string | undefined> => {
    const object = await api.find(`/api/v1/namespaces/${namespace}/${kind}/${name}`);
    const value = object?.data?.[key] as string | undefined;
    if (value === undefined && optional !== true) throw new Error(`${kind}/${name} has no key ${key}`);
    return value;
  };
  const environment: Record<string, string> = {};
  const { env = [], envFrom = [] } = pod.spec.containers[0];
  for (const { secretRef, configMapRef } of envFrom) {
    const [kind, { name }] = secretRef ? ['secrets', secretRef] : ['configmaps', configMapRef];
    const { data = {} } = await api.get(`/api/v1/namespaces/${namespace}/${kind}/${name}`);
    for (const [key, value] of Object.entries<string>(data))
      environment[key] = secretRef ? decoded(value) : value;
  }
  for (const { name, value, valueFrom } of env as Variable[]) {
    let found = value ?? '';
    if (valueFrom?.secretKeyRef !== undefined) {
      const secret = await read('secrets', valueFrom.secretKeyRef);
      if (secret === undefined) continue;
      found = decoded(secret);
    } else if (valueFrom?.configMapKeyRef !== undefined) {
      const text = await read('configmaps', valueFrom.configMapKeyRef);
      if (text === undefined) continue;
      found = text;
    } else if (valueFrom?.fieldRef !== undefined) {
      const field = valueFrom.fieldRef.fieldPath.split('.').reduce((part, key) => part?.[key], pod as Fields);
      found = String(field ?? '');
    }
    environment[name] = found;
  }
  return environment;
}

// biome-ignore lint/suspicious/noExplicitAny: any part of a pod
type Fields = any;

function decoded(base64: string): string {
  return Buffer.from(base64, 'base64').toString();
}
