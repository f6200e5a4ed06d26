import {
  type AddressKind,
  type Cidr,
  cidrContains,
  classifyAddress,
  parseAddress,
  parseCidr,
  unwrapAddress,
} from './address.ts';

/** What URLs given by users may lead to. The default allows public addresses only. */
export interface EgressOptions {
  /** `host`, `host:port`, `*.domain`: allowed whatever they resolve to. */
  readonly allowHosts?: readonly string[];
  /** Addresses that are allowed though not public, such as `10.1.0.0/16`. */
  readonly allowCidrs?: readonly string[];
  /** Allows loopback, private and shared addresses; link-local and metadata addresses stay refused. */
  readonly allowPrivate?: boolean;
  /** Allows `http:` besides `https:`. Default true. */
  readonly allowHttp?: boolean;
  /** Allows `user:password@` in the URL. Default false. */
  readonly allowCredentials?: boolean;
}

interface HostRule {
  readonly host: string;
  readonly suffix: boolean;
  readonly port: number | undefined;
}

/** A checked form of EgressOptions. Throws a TypeError when an entry cannot be read: a rule must not be lost silently. */
export class EgressPolicy {
  readonly allowHttp: boolean;
  readonly allowCredentials: boolean;
  readonly #allowPrivate: boolean;
  readonly #hosts: readonly HostRule[];
  readonly #cidrs: readonly Cidr[];

  constructor(options: EgressOptions = {}) {
    this.allowHttp = options.allowHttp ?? true;
    this.allowCredentials = options.allowCredentials ?? false;
    this.#allowPrivate = options.allowPrivate ?? false;
    this.#hosts = (options.allowHosts ?? []).map(parseHostRule);
    this.#cidrs = (options.allowCidrs ?? []).map((text) => {
      const cidr = parseCidr(text.trim());
      if (cidr === undefined)
        throw new TypeError(`not an address range: "${text}" (write it like 10.1.0.0/16)`);
      return cidr;
    });
  }

  allowsHost(host: string, port: number): boolean {
    const name = canonicalHost(host);
    return this.#hosts.some(
      (rule) =>
        (rule.port === undefined || rule.port === port) &&
        (rule.suffix ? name.endsWith(`.${rule.host}`) : name === rule.host),
    );
  }

  /** Whether the address lies in a range that was allowed by name. */
  allowsAddress(address: string): boolean {
    const parsed = parseAddress(address);
    if (parsed === undefined) return false;
    const inner = unwrapAddress(parsed);
    return this.#cidrs.some((cidr) => cidrContains(cidr, parsed) || cidrContains(cidr, inner));
  }

  /** Undefined when a connection to the address is allowed, else what kind of address forbids it. */
  forbids(address: string): AddressKind | 'unreadable' | undefined {
    const parsed = parseAddress(address);
    if (parsed === undefined) return 'unreadable';
    if (this.allowsAddress(address)) return undefined;
    const kind = classifyAddress(parsed);
    if (kind === 'public') return undefined;
    if (this.#allowPrivate && (kind === 'loopback' || kind === 'private' || kind === 'shared'))
      return undefined;
    return kind;
  }
}

/** Lower case, without brackets and without the final dot, so that all spellings of one host compare equal. */
export function canonicalHost(host: string): string {
  return host
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();
}

function parseHostRule(text: string): HostRule {
  const match = /^(\*\.)?(\[[0-9a-f:.]+\]|[^\s:/@*]+)(?::(\d{1,5}))?$/i.exec(text.trim());
  const host = match?.[2];
  if (host === undefined)
    throw new TypeError(
      `not a host: "${text}" (write it like example.com, example.com:8443 or *.example.com)`,
    );
  return {
    host: canonicalHost(host),
    suffix: match?.[1] !== undefined,
    port: match?.[3] === undefined ? undefined : Number(match[3]),
  };
}
