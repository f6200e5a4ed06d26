import { stat } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { messageOf } from '../../base/coded-error.ts';
import { ExecutorError } from '../executor-error.ts';
import type { Access, Connection } from './access.ts';

/**
 * Access as a kubeconfig says, with all its ways to prove who one is (certificates, tokens, programs, OpenID Connect).
 * The file is read again when it changes. Only here is the Kubernetes client library loaded: it takes a second and a
 * hundred megabytes.
 */
export function openKubeconfig(file: string, verifyTls: boolean): Connection {
  let loaded: { readonly changed: number; readonly config: KubeConfig } | undefined;

  async function load(): Promise<KubeConfig> {
    const { mtimeMs } = await stat(file);
    if (loaded?.changed === mtimeMs) return loaded.config;
    const { KubeConfig } = await import('@kubernetes/client-node');
    const config = new KubeConfig();
    config.loadFromFile(file);
    loaded = { changed: mtimeMs, config };
    return config;
  }

  return async () => {
    try {
      const config = await load();
      const cluster = config.getCurrentCluster();
      if (cluster === null) throw new Error('its current-context names no cluster');
      if (cluster.proxyUrl !== undefined) throw new Error('proxy-url is not supported');
      const options: RequestOptions = {};
      await config.applyToHTTPSOptions(options);
      return accessOf(cluster.server, options, verifyTls);
    } catch (thrown) {
      // The cause may hold what is in the file.
      throw new ExecutorError('misconfigured', `KUBECONFIG ${file} cannot be used: ${messageOf(thrown)}.`);
    }
  };
}

function accessOf(server: string, options: RequestOptions, verifyTls: boolean): Access {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {}))
    if (typeof value === 'string') headers[name.toLowerCase()] = value.trim();
  if (typeof options.auth === 'string')
    headers.authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  const { ca, cert, key, servername } = options;
  return {
    server: server.replace(/\/$/, ''),
    headers,
    tls: {
      ...(isPem(ca) ? { ca } : {}),
      ...(isPem(cert) ? { cert } : {}),
      ...(isPem(key) ? { key } : {}),
      ...(servername === undefined ? {} : { servername }),
      rejectUnauthorized: verifyTls && options.rejectUnauthorized !== false,
    },
  };
}

function isPem(value: unknown): value is string | Buffer {
  return typeof value === 'string' || Buffer.isBuffer(value);
}
