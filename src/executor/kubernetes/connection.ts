import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../base/coded-error.ts';
import { ExecutorError } from '../executor-error.ts';
import type { Access, Connection } from './access.ts';
import { openKubeconfig } from './kubeconfig.ts';

export interface ConnectionOptions {
  /** `host:port`, or with a scheme. Undefined: kubeconfig, or the cluster this process runs in. */
  readonly server: string | undefined;
  readonly kubeconfig: string | undefined;
  /** Files (PEM). */
  readonly ca: string | undefined;
  readonly certificate: { readonly certificate: string; readonly key: string } | undefined;
  readonly verifyTls: boolean;
  readonly token: (() => string) | undefined;
  readonly tokenFile: string | undefined;
  /** Where a pod finds its account and the API: KUBERNETES_SERVICE_HOST and _PORT. */
  readonly inCluster?: {
    readonly host: string | undefined;
    readonly port: string | undefined;
    readonly folder?: string;
  };
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export function openConnection(options: ConnectionOptions): Connection {
  if (options.server !== undefined) return () => given(options, options.server ?? '');
  if (options.kubeconfig !== undefined) return openKubeconfig(options.kubeconfig, options.verifyTls);
  const {
    host,
    port = '443',
    folder = accountFolder,
  } = options.inCluster ?? { host: undefined, port: undefined };
  return async () => {
    if (host === undefined)
      throw new ExecutorError(
        'misconfigured',
        'Slipway does not run in a Kubernetes cluster (KUBERNETES_SERVICE_HOST is not set). Set K8S_API_SERVER with SERVICE_ACCOUNT_TOKEN, or KUBECONFIG.',
      );
    const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
    const files = { ca: options.ca ?? join(folder, 'ca.crt'), tokenFile: join(folder, 'token') };
    return await given({ ...options, ...files }, server);
  };
}

async function given(options: ConnectionOptions, server: string): Promise<Access> {
  const { ca, certificate, verifyTls, token, tokenFile } = options;
  const bearer = tokenFile === undefined ? token?.() : await read('SERVICE_ACCOUNT_TOKEN_FILE', tokenFile);
  return {
    server: (/^https?:\/\//.test(server) ? server : `https://${server}`).replace(/\/$/, ''),
    headers: bearer === undefined ? {} : { authorization: `Bearer ${headerValue(bearer)}` },
    tls: {
      ...(ca === undefined ? {} : { ca: await read('K8S_API_TLS_CA', ca) }),
      ...(certificate === undefined
        ? {}
        : {
            cert: await read('K8S_API_TLS_CERT', certificate.certificate),
            key: await read('K8S_API_TLS_KEY', certificate.key),
          }),
      rejectUnauthorized: verifyTls,
    },
  };
}

/** A token with a line break within it would throw far from here, with the token in the message. */
function headerValue(token: string): string {
  const value = token.trim();
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new ExecutorError(
    'misconfigured',
    'The token for the Kubernetes API is empty, or has characters that no token has. Check SERVICE_ACCOUNT_TOKEN.',
  );
}

async function read(key: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    throw new ExecutorError('misconfigured', `${key} ${file} cannot be read: ${messageOf(thrown)}.`);
  }
}
