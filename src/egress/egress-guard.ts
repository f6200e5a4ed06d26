import { lookup as dnsLookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { abortable } from '../base/abortable.ts';
import { redactUrl } from '../model/redact-url.ts';
import { EgressError } from './egress-error.ts';
import { canonicalHost, type EgressPolicy } from './egress-policy.ts';

export interface ResolvedAddress {
  readonly address: string;
  readonly family: 4 | 6;
}

/** Finds a name's addresses. The default asks the system's resolver. */
export type Resolve = (host: string) => Promise<readonly ResolvedAddress[]>;

const systemResolve: Resolve = async (host) =>
  (await dnsLookup(host, { all: true, verbatim: true })).map(({ address, family }) => ({
    address,
    family: family === 6 ? 6 : 4,
  }));

/**
 * Decides where a URL given by a user may lead. A name is resolved once, every address of it is checked, and
 * the caller connects to the checked address itself, so that a second answer of the name server cannot change
 * the target. Holds no state; may be shared.
 */
export class EgressGuard {
  readonly policy: EgressPolicy;
  readonly #resolve: Resolve;

  constructor(policy: EgressPolicy, resolve: Resolve = systemResolve) {
    this.policy = policy;
    this.#resolve = resolve;
  }

  /** Parses an http(s) URL and checks what can be checked without a name server. Throws `bad-url` or `forbidden`. */
  checkUrl(text: string): URL {
    let url: URL;
    try {
      url = new URL(text);
    } catch (error) {
      throw new EgressError(
        'bad-url',
        'The URL cannot be parsed. Give a full one, such as https://example.com/source.tar.gz.',
        error,
      );
    }
    // They would be left out without a word, and another URL be asked than was given.
    if (/[\0-\x1f\x7f]/.test(text))
      throw new EgressError('bad-url', 'The URL has a line end, tab or other control character in it.');
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && this.policy.allowHttp)) {
      const wanted = this.policy.allowHttp ? 'http or https' : 'https';
      throw new EgressError('bad-url', `The scheme of ${redactUrl(text)} is not allowed. Use ${wanted}.`);
    }
    if ((url.username !== '' || url.password !== '') && !this.policy.allowCredentials) {
      throw new EgressError(
        'bad-url',
        `${redactUrl(text)} has a user name or password in it. Give them separately.`,
      );
    }
    if (url.hostname === '') throw new EgressError('bad-url', 'The URL names no host.');
    if (isIP(canonicalHost(url.hostname)) !== 0)
      this.#checkAddress(url.hostname, portOf(url), canonicalHost(url.hostname));
    return url;
  }

  /**
   * The addresses of a host, all of them allowed. Any spelling that a C library would take for an address
   * (`127.1`, `0x7f000001`, `017700000001`, `2130706433`) is read as that address.
   * Throws `bad-url`, `unresolved`, `forbidden` or `cancelled`.
   */
  async resolve(host: string, port: number, signal?: AbortSignal): Promise<readonly ResolvedAddress[]> {
    const name = normaliseHost(host);
    const literal = isIP(name);
    const addresses =
      literal === 0
        ? await this.#ask(name, signal)
        : [{ address: name, family: literal === 6 ? 6 : 4 } as const];
    for (const { address } of addresses) this.#checkAddress(name, port, address);
    return addresses;
  }

  /**
   * Whether an administrator named this host, or ranges that all its addresses lie in: such a host is one of the
   * team's own. Throws as `resolve` does.
   */
  async isListed(host: string, port: number, signal?: AbortSignal): Promise<boolean> {
    if (this.policy.allowsHost(host, port)) return true;
    const addresses = await this.resolve(host, port, signal);
    return addresses.every(({ address }) => this.policy.allowsAddress(address));
  }

  /** A `lookup` for node's sockets: gives only checked addresses, or fails with the EgressError. */
  lookupFor(port: number): LookupFunction {
    return (host, options, callback) => {
      this.resolve(host, port).then(
        (addresses) => {
          const wanted = addresses.filter(({ family }) => matchesFamily(options.family, family));
          const first = wanted[0];
          if (first === undefined)
            callback(new EgressError('unresolved', `${host} has no address of the wanted family.`), '', 4);
          else if (options.all === true) callback(null, [...wanted]);
          else callback(null, first.address, first.family);
        },
        (error: Error) => callback(error, '', 4),
      );
    };
  }

  async #ask(name: string, signal: AbortSignal | undefined): Promise<readonly ResolvedAddress[]> {
    try {
      const answer = await abortable(this.#resolve(name), signal);
      if (answer.length > 0) return answer;
    } catch (error) {
      if (signal?.aborted) throw new EgressError('cancelled', 'The request was cancelled.', error);
      throw new EgressError(
        'unresolved',
        `The name ${name} cannot be resolved. Check its spelling and the name server.`,
        error,
      );
    }
    throw new EgressError('unresolved', `The name ${name} has no address. Check its spelling.`);
  }

  #checkAddress(host: string, port: number, address: string): void {
    if (this.policy.allowsHost(host, port)) return;
    const kind = this.policy.forbids(address);
    if (kind === undefined) return;
    const which = canonicalHost(host) === address ? address : `${host} (${address})`;
    throw new EgressError(
      'forbidden',
      `${which} is a ${kind} address, which URLs given by users may not reach. An administrator can allow the host or its range: --allow-private of slipway up, SLIPWAY.ALLOW_PRIVATE of slipway serve.`,
    );
  }
}

export function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : url.protocol === 'ssh:' ? 22 : 80;
}

function normaliseHost(host: string): string {
  const bare = canonicalHost(host);
  if (isIP(bare) !== 0) return bare;
  try {
    return canonicalHost(new URL(`http://${bare}/`).hostname);
  } catch (error) {
    throw new EgressError('bad-url', 'The host name is not valid.', error);
  }
}

function matchesFamily(wanted: number | string | undefined, family: 4 | 6): boolean {
  if (wanted === undefined || wanted === 0) return true;
  return wanted === family || wanted === `IPv${family}`;
}
