import type { IncomingMessage } from 'node:http';
import { isRegistryHost } from '../model/image-reference.ts';

/**
 * `http(s)://host[:port]` of this server as the client of a request knows it. The X-Forwarded-* headers count only
 * when a proxy of ours is in front (`trustForwarded`), since anybody can send them. `fallback` is for requests
 * whose host is missing or malformed. `tlsInFront`: whatever comes in clear text came by TLS to something before us.
 */
export function publicOrigin(
  incoming: Pick<IncomingMessage, 'headers' | 'socket'>,
  {
    trustForwarded,
    fallback,
    tlsInFront = false,
  }: { trustForwarded: boolean; fallback: string; tlsInFront?: boolean },
): string {
  const forwarded = (name: string) => {
    const value = trustForwarded ? incoming.headers[name] : undefined;
    // Of a chain of proxies the first entry is the client's view.
    return (Array.isArray(value) ? value[0] : value)?.split(',')[0]?.trim();
  };
  const encrypted = 'encrypted' in incoming.socket && incoming.socket.encrypted === true;
  const said = forwarded('x-forwarded-proto');
  const scheme = said === 'http' || said === 'https' ? said : encrypted || tlsInFront ? 'https' : 'http';
  const host = forwarded('x-forwarded-host') ?? incoming.headers.host;
  return host !== undefined && isRegistryHost(host) ? `${scheme}://${host}` : fallback;
}
