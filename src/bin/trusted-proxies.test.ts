import { expect, test } from 'vitest';
import { TrustedProxies } from './trusted-proxies.ts';

test.each([
  ['10.1.2.3', true],
  ['10.2.0.1', false],
  ['192.0.2.7', true],
  ['192.0.2.8', false],
  ['::ffff:10.1.0.1', true],
  ['::FFFF:10.2.0.1', false],
  ['fd00::1', true],
  ['fe80::1', false],
  ['not an address', false],
  [undefined, false],
])('%s', (address, trusted) => {
  const proxies = new TrustedProxies(['10.1.0.0/16', '192.0.2.7', 'fd00::/8']);
  expect(proxies.trusts(address)).toBe(trusted);
});

test('nobody is trusted unless named', () => {
  expect(new TrustedProxies([]).trusts('127.0.0.1')).toBe(false);
});

test('what is no address is refused by name', () => {
  expect(() => new TrustedProxies(['proxy.example.com'])).toThrow(/proxy\.example\.com is neither/);
});
