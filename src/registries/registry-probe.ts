import type { Clock } from '../base/clock.ts';
import { EgressError } from '../egress/egress-error.ts';
import type { EgressGuard } from '../egress/egress-guard.ts';
import type { OciClient } from '../registry/oci-client.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { type Credentials, pathIn } from './external-registry.ts';
import { guardedClient } from './guarded-client.ts';

/**
 * What is wrong with a registry's settings:
 *
 * | code               | meaning                                                                  |
 * |--------------------|--------------------------------------------------------------------------|
 * | unreachable        | nothing answers there, or it answers with faults of its own              |
 * | tls                | its certificate is not trusted, or it does not speak TLS                  |
 * | wrong-credentials  | it does not accept user name and password                                |
 * | no-push-permission | it accepts them, but not a push below the prefix                         |
 * | not-a-registry     | something answers, but not in the protocol of registries                 |
 * | forbidden-address  | it has an address that users may not lead us to                          |
 * | insecure           | plain HTTP is for hosts that an administrator named                      |
 */
export const probeCodes = [
  'unreachable',
  'tls',
  'wrong-credentials',
  'no-push-permission',
  'not-a-registry',
  'forbidden-address',
  'insecure',
] as const;

export interface Problem {
  readonly code: (typeof probeCodes)[number];
  readonly message: string;
}

export interface RegistryProbeOptions {
  readonly egress: EgressGuard;
  readonly clock: Clock;
}

/** For everything; each request of it may be repeated. */
const patience = 20_000;
/** A repository that no push is meant for: what is begun there is given up at once. */
const rehearsal = 'slipway-check';

/** Tries out the credentials of a registry with the registry itself. */
export class RegistryProbe {
  readonly #options: RegistryProbeOptions;

  constructor(options: RegistryProbeOptions) {
    this.#options = options;
  }

  /**
   * Logs in, and where the registry is for pushes begins and cancels an upload: at `path` when given, else below the
   * prefix. Undefined: nothing is wrong.
   */
  async check(
    credentials: Credentials,
    signal: AbortSignal,
    path = pathIn(credentials.registry, rehearsal),
  ): Promise<Problem | undefined> {
    const { egress, clock } = this.#options;
    const { registry } = credentials;
    const limit = new AbortController();
    const done = new AbortController();
    clock.sleep(patience, done.signal).then(
      () => limit.abort(),
      () => {},
    );
    const client = guardedClient(credentials, this.#options);
    const both = AbortSignal.any([signal, limit.signal]);
    try {
      if (registry.insecure && !(await isListed(egress, registry.host, both))) return insecure(registry.host);
      return await tryOut(client, registry.push ? path : undefined, credentials, both);
    } catch (error) {
      signal.throwIfAborted();
      if (!limit.signal.aborted) throw error;
      return {
        code: 'unreachable',
        message: `${registry.host} did not answer within ${patience / 1000} s. Check that the registry is up, then try again.`,
      };
    } finally {
      done.abort();
      client.close();
    }
  }
}

async function tryOut(
  client: OciClient,
  path: string | undefined,
  { registry }: Credentials,
  signal: AbortSignal,
): Promise<Problem | undefined> {
  const { host, username } = registry;
  try {
    await client.ping(signal);
  } catch (error) {
    return problemOf(error, registry, {
      code: 'wrong-credentials',
      message: `${host} does not accept the user name "${username}" with this password. Check both; where accounts have a second factor, use an access token.`,
    });
  }
  if (path === undefined) return undefined;
  try {
    await client.rehearsePush(path, signal);
    return undefined;
  } catch (error) {
    return problemOf(error, registry, {
      code: 'no-push-permission',
      message: `${host} accepts "${username}", but does not let it push to ${path}. Check the prefix and the account's permissions there.`,
    });
  }
}

function problemOf(error: unknown, { host, insecure }: Credentials['registry'], refused: Problem): Problem {
  if (!(error instanceof RegistryError)) throw error;
  switch (error.code) {
    case 'unauthorized':
    case 'denied':
      return refused;
    case 'tls':
      if (speaksNoTls(error))
        return {
          code: 'tls',
          message: `${host} answers, but not with TLS. Check the port; for plain HTTP mark the registry as insecure (--insecure).`,
        };
      return {
        code: 'tls',
        message: `${error.message.replace(/ Add its certificate.*$/s, '')} Give its certificate authority as "ca", or check the port.`,
      };
    case 'unavailable':
    case 'rate-limited':
      return { code: 'unreachable', message: error.message };
    case 'forbidden':
      return { code: 'forbidden-address', message: error.message };
    case 'name-unknown':
    case 'manifest-unknown':
    case 'blob-unknown':
    case 'invalid':
    case 'too-large':
    case 'digest-mismatch':
    case 'unsupported':
      if (refused.code === 'no-push-permission')
        return { code: 'no-push-permission', message: `${refused.message} It said: ${error.message}` };
      return {
        code: 'not-a-registry',
        message: `${insecure ? 'http' : 'https'}://${host}/v2/ does not answer as a registry does. Check host and port. (${error.message})`,
      };
  }
}

/** OpenSSL's words for an answer that is no TLS at all; they name a file of its source and end in a line break. */
function speaksNoTls({ cause }: RegistryError): boolean {
  return (
    cause instanceof Error &&
    'code' in cause &&
    cause.code === 'EPROTO' &&
    /wrong.version.number/i.test(cause.message)
  );
}

async function isListed(egress: EgressGuard, host: string, signal: AbortSignal): Promise<boolean> {
  const { hostname, port } = new URL(`http://${host}/`);
  try {
    return await egress.isListed(hostname, port === '' ? 80 : Number(port), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof EgressError) return false;
    throw error;
  }
}

function insecure(host: string): Problem {
  return {
    code: 'insecure',
    message: `${host} may not be spoken to without TLS: a password would go over the network in clear text. An administrator can allow the host by name (--allow-private of slipway up, SLIPWAY.ALLOW_PRIVATE of slipway serve); then it may be insecure.`,
  };
}
