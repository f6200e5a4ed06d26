import fc from 'fast-check';
import { expect, it } from 'vitest';
import { StandstillWatch } from './standstill-watch.ts';

interface Seen {
  readonly id: string;
  readonly value: number;
}

function watching() {
  let now = 0;
  const watch = new StandstillWatch<Seen>({
    monotonic: () => now,
    idOf: ({ id }) => id,
    same: (before, after) => before.value === after.value,
  });
  return (passed: number, ...seen: Seen[]) => {
    now += passed;
    return watch.stoodStill(seen, 60).map(({ id }) => id);
  };
}

it('finds what stands still, and not before the time is over', () => {
  const look = watching();
  const seen = { id: 'a', value: 7 };
  expect(look(0, seen)).toEqual([]);
  expect(look(20, seen)).toEqual([]);
  expect(look(20, seen)).toEqual([]);
  expect(look(19, seen)).toEqual([]);
  expect(look(1, seen)).toEqual(['a']);
});

it('begins anew with what moved, in whichever direction, and with what went and came', () => {
  const look = watching();
  for (let n = 0; n < 20; n += 1)
    expect(look(10, { id: 'a', value: -n }, { id: 'b', value: n % 2 })).toEqual([]);
  for (let n = 0; n < 20; n += 1)
    expect(look(10, ...(n % 5 === 0 ? [] : [{ id: 'a', value: 0 }]))).toEqual([]);
});

it('does not hold its own pause against the others', () => {
  const look = watching();
  const seen = { id: 'a', value: 7 };
  for (const passed of [0, 20, 20]) look(passed, seen);
  expect(look(21, seen)).toEqual([]);
  for (const passed of [20, 20]) expect(look(passed, seen)).toEqual([]);
  expect(look(20, seen)).toEqual(['a']);
});

it('never finds what moves more often than the time it has', () => {
  const steps = fc.array(fc.record({ passed: fc.nat(25), moves: fc.boolean() }), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (given) => {
      const look = watching();
      let [value, still] = [0, 0];
      look(0, { id: 'a', value });
      for (const { passed, moves } of given) {
        still += passed;
        if (moves || still >= 60) [value, still] = [value + 1, 0];
        expect(look(passed, { id: 'a', value })).toEqual([]);
      }
    }),
  );
});
