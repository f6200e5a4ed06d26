import { createHash } from 'node:crypto';

/** How the Kubernetes API is reached now. */
export interface Access {
  /** `http(s)://host:port`, without a slash at the end. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: {
    readonly ca?: string | Buffer;
    readonly cert?: string | Buffer;
    readonly key?: string | Buffer;
    readonly servername?: string;
    readonly rejectUnauthorized: boolean;
  };
}

/** Asked before every call, because tokens and certificates rotate. Throws ExecutorError `misconfigured`. */
export type Connection = () => Promise<Access>;

/** Connections of one way of access may be used again by the same only. */
export function fingerprintOf({ server, tls }: Access): string {
  const hash = createHash('sha256').update(server);
  for (const part of [tls.ca, tls.cert, tls.key, tls.servername, String(tls.rejectUnauthorized)])
    hash.update('\0').update(part ?? '');
  return hash.digest('hex');
}
