import { expect, it } from 'vitest';
import { Turns } from './turns.ts';

it('gives a turn of the event loop to one at a time, in the order in which they asked', async () => {
  const turns = new Turns();
  const order: string[] = [];
  let over = false;
  // A new one in each turn of the loop.
  const beat = () => {
    if (!over) setImmediate(beat);
    order.push('loop');
  };
  setImmediate(beat);
  await Promise.all(
    ['a', 'b', 'c'].map(async (name) => {
      await turns.next();
      order.push(name);
    }),
  );
  over = true;
  const given = order.filter((each) => each !== 'loop');
  expect(given).toEqual(['a', 'b', 'c']);
  expect(order.indexOf('b') - order.indexOf('a')).toBeGreaterThan(1);
  expect(order.indexOf('c') - order.indexOf('b')).toBeGreaterThan(1);
});
