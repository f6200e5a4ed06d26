import { expect, test } from 'vitest';
import { PasswordHasher, PasswordsBusy } from './password-hash.ts';

const hasher = new PasswordHasher();

test('the right password is right, any other is wrong, and two hashes of one differ', async () => {
  const stored = await hasher.hash('correct horse');
  expect(stored).toMatch(/^scrypt\$15\$8\$1\$[\w-]{22}\$[\w-]{43}$/);
  expect(await hasher.verify('correct horse', stored)).toBe(true);
  expect(await hasher.verify('correct horse ', stored)).toBe(false);
  expect(await hasher.verify('', stored)).toBe(false);
  expect(await hasher.hash('correct horse')).not.toBe(stored);
});

test('the same text typed in another way is the same password', async () => {
  const stored = await hasher.hash('caf\u00e9 caf\u00e9');
  expect(await hasher.verify('cafe\u0301 cafe\u0301', stored)).toBe(true);
});

test('nobody has no password, and it costs a whole hash to find that out', async () => {
  const before = process.cpuUsage();
  expect(await hasher.verify('anything', undefined)).toBe(false);
  const spent = process.cpuUsage(before);
  // A hash of this cost takes some 50 to 150 ms of processor time; a short cut takes none.
  expect(spent.user + spent.system).toBeGreaterThan(10_000);
});

test('a damaged hash is a fault, not a wrong password', async () => {
  await expect(hasher.verify('x', 'scrypt$15$8$1$abc')).rejects.toThrow(TypeError);
});

test('more checks than may wait are refused, the others are answered', async () => {
  const results = await Promise.allSettled(Array.from({ length: 68 }, () => hasher.verify('x', undefined)));
  const refused = results.filter(
    (result) => result.status === 'rejected' && result.reason instanceof PasswordsBusy,
  );
  expect(refused).toHaveLength(2);
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(66);
});
