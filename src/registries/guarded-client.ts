import { isIP, type LookupFunction } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { EgressError } from '../egress/egress-error.ts';
import { type EgressGuard, portOf } from '../egress/egress-guard.ts';
import { canonicalHost } from '../egress/egress-policy.ts';
import { OciClient } from '../registry/oci-client.ts';
import { RegistryError, type RegistryErrorCode } from '../registry/registry-error.ts';
import type { Credentials } from './external-registry.ts';

/** A client of a registry that a user named: it connects to addresses the guard allows, and to no others. */
export function guardedClient(
  { registry, password }: { readonly registry: Credentials['registry']; readonly password: string },
  { egress, clock }: { readonly egress: EgressGuard; readonly clock: Clock },
): OciClient {
  const { host, insecure, username, ca } = registry;
  return new OciClient({
    endpoint: {
      kind: 'network',
      host,
      security: insecure ? 'http' : 'tls',
      ...(ca === undefined ? {} : { ca }),
      reach: (url) => reach(egress, url),
    },
    credentials: { kind: 'password', username, password },
    clock,
  });
}

function reach(egress: EgressGuard, url: URL): LookupFunction {
  try {
    // An address that is written out is connected to without a look-up.
    egress.checkUrl(url.href);
  } catch (error) {
    throw inWordsOfRegistry(error);
  }
  const port = portOf(url);
  const { policy } = egress;
  // A password in clear text goes to hosts that an administrator named, wherever a registry points to.
  const onlyListed = url.protocol === 'http:' && !policy.allowsHost(url.hostname, port);
  if (onlyListed && isIP(canonicalHost(url.hostname)) !== 0 && !policy.allowsAddress(url.hostname))
    throw clearText(url.host);
  const lookup = egress.lookupFor(port);
  return (host, options, callback) =>
    lookup(host, options, (error, found, family) => {
      if (error !== null) return callback(inWordsOfRegistry(error) as Error, found, family);
      const addresses = typeof found === 'string' ? [found] : found.map(({ address }) => address);
      const allowed = !onlyListed || addresses.every((address) => policy.allowsAddress(address));
      return callback(allowed ? null : clearText(url.host), found, family);
    });
}

function clearText(host: string): RegistryError {
  return new RegistryError(
    'forbidden',
    `${host} may not be spoken to without TLS: no administrator has allowed this host.`,
  );
}

function inWordsOfRegistry(error: unknown): unknown {
  if (!(error instanceof EgressError)) return error;
  const code: RegistryErrorCode =
    error.code === 'forbidden' ? 'forbidden' : error.code === 'bad-url' ? 'invalid' : 'unavailable';
  return new RegistryError(code, error.message, error);
}
