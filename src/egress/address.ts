import { isIP, isIPv4 } from 'node:net';

/**
 * What an IP address is to somebody who must not be led into the inside of a network. Everything that is not
 * plainly a public unicast address has a name here. IPv6 forms that carry an IPv4 address are judged by it.
 */
export type AddressKind =
  | 'public'
  | 'loopback'
  | 'private'
  | 'shared'
  | 'link-local'
  | 'metadata'
  | 'multicast'
  | 'reserved';

/** An address as a number; `bits` is 32 or 128. */
export interface ParsedAddress {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

export interface Cidr extends ParsedAddress {
  readonly prefix: number;
}

/** Parses the usual text forms (`1.2.3.4`, `::1`, `::ffff:1.2.3.4`, `fe80::1%eth0`); nothing octal, hex or short. */
export function parseAddress(text: string): ParsedAddress | undefined {
  const bare = text.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  switch (isIP(bare)) {
    case 4:
      return { bits: 32, value: parseIPv4(bare) };
    case 6:
      return { bits: 128, value: parseIPv6(bare) };
    default:
      return undefined;
  }
}

function parseIPv4(text: string): bigint {
  return text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function parseIPv6(text: string): bigint {
  const lastColon = text.lastIndexOf(':');
  const tail = text.slice(lastColon + 1);
  let groups = text;
  if (isIPv4(tail)) {
    const v4 = parseIPv4(tail);
    groups = `${text.slice(0, lastColon + 1)}${(v4 >> 16n).toString(16)}:${(v4 & 0xffffn).toString(16)}`;
  }
  const [left = '', right] = groups.split('::');
  const head = left === '' ? [] : left.split(':');
  const rest = right === undefined || right === '' ? [] : right.split(':');
  const zeros = new Array<string>(8 - head.length - rest.length).fill('0');
  return [...head, ...zeros, ...rest].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** Parses `10.0.0.0/8`, `fd00::/8` or a single address. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  const address = parseAddress(match?.[1] ?? '');
  if (address === undefined) return undefined;
  const prefix = match?.[2] === undefined ? address.bits : Number(match[2]);
  return prefix > address.bits ? undefined : { ...address, prefix };
}

export function cidrContains(cidr: Cidr, address: ParsedAddress): boolean {
  if (cidr.bits !== address.bits) return false;
  const shift = BigInt(cidr.bits - cidr.prefix);
  return cidr.value >> shift === address.value >> shift;
}

type Row = readonly [Cidr, AddressKind];

function rows(kind: AddressKind, ...cidrs: string[]): Row[] {
  return cidrs.map((text) => {
    const cidr = parseCidr(text);
    if (cidr === undefined) throw new TypeError(`not a CIDR: ${text}`);
    return [cidr, kind];
  });
}

/** First match wins. */
const ipv4Table: readonly Row[] = [
  ...rows('metadata', '169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16', '192.0.0.192'),
  ...rows('loopback', '127.0.0.0/8'),
  ...rows('private', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'),
  ...rows('shared', '100.64.0.0/10'),
  ...rows('link-local', '169.254.0.0/16'),
  ...rows('multicast', '224.0.0.0/4'),
  ...rows('reserved', '0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15'),
  ...rows('reserved', '198.51.100.0/24', '203.0.113.0/24', '240.0.0.0/4'),
];

const ipv6Table: readonly Row[] = [
  ...rows('metadata', 'fd00:ec2::254', 'fd20:ce::254', 'fd00:42::42'),
  ...rows('loopback', '::1'),
  ...rows('private', 'fc00::/7', 'fec0::/10'),
  ...rows('link-local', 'fe80::/10'),
  ...rows('multicast', 'ff00::/8'),
  ...rows('reserved', '2001::/23', '2001:db8::/32', '3fff::/20'),
  ...rows('public', '2000::/3'),
];

/** IPv6 prefixes with an IPv4 address inside, and how many bits stand to the right of it. */
const carriers: readonly (readonly [Cidr, bigint])[] = (
  [
    ['::ffff:0:0/96', 0n],
    ['::ffff:0:0:0/96', 0n],
    ['64:ff9b::/96', 0n],
    ['2002::/16', 80n],
  ] as const
).map(([text, shift]) => {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new TypeError(`not a CIDR: ${text}`);
  return [cidr, shift];
});

/** The address itself, or the IPv4 address that an IPv6 form carries (mapped, translated, NAT64, 6to4). */
export function unwrapAddress(address: ParsedAddress): ParsedAddress {
  for (const [cidr, shift] of carriers) {
    if (cidrContains(cidr, address)) return { bits: 32, value: (address.value >> shift) & 0xffff_ffffn };
  }
  return address;
}

export function classifyAddress(given: ParsedAddress): AddressKind {
  const address = unwrapAddress(given);
  const table = address.bits === 32 ? ipv4Table : ipv6Table;
  const row = table.find(([cidr]) => cidrContains(cidr, address));
  if (row !== undefined) return row[1];
  return address.bits === 32 ? 'public' : 'reserved';
}
