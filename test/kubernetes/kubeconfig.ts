import type { Identity } from './api-client.ts';

export interface KubeconfigOptions {
  readonly url: string;
  /** PEM. */
  readonly authority: string;
  readonly identity: Identity;
  readonly namespace?: string;
}

/** A kubeconfig with everything in it. JSON is YAML. */
export function kubeconfig({ url, authority, identity, namespace }: KubeconfigOptions): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const user =
    'token' in identity
      ? { token: identity.token }
      : {
          'client-certificate-data': base64(identity.certificate),
          'client-key-data': base64(identity.key),
        };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority-data': base64(authority) } }],
    users: [{ name: 'test', user }],
    contexts: [
      {
        name: 'test',
        context: { cluster: 'test', user: 'test', ...(namespace === undefined ? {} : { namespace }) },
      },
    ],
    'current-context': 'test',
  });
}
