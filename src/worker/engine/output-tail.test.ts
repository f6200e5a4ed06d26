import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keptLines, lineLimit, OutputTail } from './output-tail.ts';

describe('following output', () => {
  it('gives the same lines however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'ü', '€', '\n', ' ') }),
        fc.infiniteStream(fc.integer({ min: 1, max: 5 })),
        (text, cuts) => {
          const seen: string[] = [];
          const tail = new OutputTail((line) => seen.push(line));
          const bytes = Buffer.from(text);
          for (let at = 0; at < bytes.length; ) {
            const length = cuts.next().value ?? 1;
            tail.add(bytes.subarray(at, at + length));
            at += length;
          }
          const lines = tail.lines();
          const wanted = text.split('\n');
          if (wanted.at(-1) === '') wanted.pop();
          expect(seen).toEqual(wanted);
          expect(lines).toEqual(wanted.slice(-keptLines));
        },
      ),
    );
  });

  it('keeps the beginning of an endless line only', () => {
    const tail = new OutputTail();
    for (let at = 0; at < 1000; at += 1) tail.add(Buffer.alloc(1000, 'x'));
    tail.add(Buffer.from('\nend\n'));
    expect(tail.lines().map((line) => line.length)).toEqual([lineLimit, 3]);
  });
});
