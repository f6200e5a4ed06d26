import { createHash } from 'node:crypto';

/** The public key by which an SSH server shows that it is the one that was spoken to before. */
export interface HostKey {
  /** Lower case, without brackets. */
  readonly host: string;
  readonly port: number;
  /** As `known_hosts` names it, such as `ssh-ed25519`. */
  readonly type: string;
  /** Base64, as in `known_hosts`. */
  readonly key: string;
}

const types = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
]);
/** An RSA key of 16,384 bits is shorter. */
const longestKey = 4096;

/** Undefined when it is none: what a worker reports is believed only in this form. */
export function parseHostKey({ host, port, type, key }: HostKey): HostKey | undefined {
  if (!isKeyHost(host) || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  if (!types.has(type) || key.length > longestKey) return undefined;
  const blob = Buffer.from(key, 'base64');
  // The key says its own type first; and base64 that is not in its one form would be a second name for it.
  const named = blob.length > 4 ? blob.toString('latin1', 4, 4 + blob.readUInt32BE(0)) : '';
  return named === type && blob.toString('base64') === key ? { host, port, type, key } : undefined;
}

/** A host as host keys are kept under: a name or an address, lower case. */
export function isKeyHost(host: string): boolean {
  return /^(?:[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?|[0-9a-f:.]{2,45})$/.test(host);
}

/** The form in which people compare keys: `SHA256:…`. */
export function fingerprintOf({ key }: Pick<HostKey, 'key'>): string {
  const hash = createHash('sha256').update(Buffer.from(key, 'base64')).digest('base64');
  return `SHA256:${hash.replace(/=+$/, '')}`;
}

/** How `known_hosts` names a server. */
export function knownHostName({ host, port }: Pick<HostKey, 'host' | 'port'>): string {
  return port === 22 ? host : `[${host}]:${port}`;
}

/** Reads one line of `known_hosts`: of one name, and not hashed. */
export function parseKnownHost(line: string): HostKey | undefined {
  const match = /^(?:\[([^\]]+)\]:(\d{1,5})|([^\s,[\]|@]+)) (\S+) (\S+)/.exec(line);
  const [, bracketed, port, plain, type = '', key = ''] = match ?? [];
  const host = bracketed ?? plain;
  return host === undefined ? undefined : parseHostKey({ host, port: Number(port ?? 22), type, key });
}

/** How people name a server: `host`, `host:port`, `[address]:port`; 22 unless given. Undefined: it is none. */
export function parseKeyServer(text: string): Pick<HostKey, 'host' | 'port'> | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text.trim().toLowerCase());
  const host = match?.[1] ?? match?.[2] ?? (isKeyHost(text.toLowerCase()) ? text.toLowerCase() : '');
  const port = Number(match?.[3] ?? 22);
  return isKeyHost(host) && port >= 1 && port <= 65_535 ? { host, port } : undefined;
}

export function formatKeyServer({ host, port }: Pick<HostKey, 'host' | 'port'>): string {
  const plain = host.includes(':') ? `[${host}]` : host;
  return port === 22 ? plain : `${plain}:${port}`;
}
