import { expect, test } from 'vitest';
import { AddressTurns } from './address-turns.ts';
import { PasswordsBusy } from './password-hash.ts';

test('one address takes one turn at a time, another one does not wait for it', async () => {
  const turns = new AddressTurns();
  const first = Promise.withResolvers<void>();
  const order: string[] = [];
  const a = turns.take('2001:db8::1', async () => {
    await first.promise;
    order.push('a');
  });
  const b = turns.take('2001:db8::2', async () => order.push('b'));
  await turns.take('192.0.2.1', async () => order.push('elsewhere'));
  first.resolve();
  await Promise.all([a, b]);
  expect(order).toEqual(['elsewhere', 'a', 'b']);
});

test('a turn that fails passes on, and no more wait than may', async () => {
  const turns = new AddressTurns();
  const first = Promise.withResolvers<void>();
  const failing = turns.take('192.0.2.1', async () => await first.promise);
  const waiting = Array.from({ length: 64 }, async (_each, index) =>
    turns.take('192.0.2.1', async () => index),
  );
  await expect(turns.take('192.0.2.1', async () => 0)).rejects.toBeInstanceOf(PasswordsBusy);
  first.reject(new TypeError('broken'));
  await expect(failing).rejects.toBeInstanceOf(TypeError);
  expect(await Promise.all(waiting)).toEqual(Array.from({ length: 64 }, (_each, index) => index));
});
