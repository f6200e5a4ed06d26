import { BlockList, isIP } from 'node:net';

/** Who may say by X-Forwarded-* headers what a client asked for: proxies of ours, by address and CIDR block. */
export class TrustedProxies {
  readonly #list = new BlockList();

  /** Throws TypeError for what is neither an address nor a block. */
  constructor(proxies: readonly string[]) {
    for (const entry of proxies) {
      const [address = '', prefix] = entry.split('/');
      const family = isIP(address);
      if (family === 0) throw new TypeError(`${entry} is neither an address nor a CIDR block.`);
      const type = family === 4 ? 'ipv4' : 'ipv6';
      if (prefix === undefined) this.#list.addAddress(address, type);
      else this.#list.addSubnet(address, Number(prefix), type);
    }
  }

  /** `address`: of the other end of a connection. */
  trusts(address: string | undefined): boolean {
    if (address === undefined) return false;
    // A socket that listens on IPv6 too names IPv4 clients in this way.
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
    const family = isIP(plain);
    return family !== 0 && this.#list.check(plain, family === 4 ? 'ipv4' : 'ipv6');
  }
}
