import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entriesOf, type LogPiece } from './log-chunk.ts';
import { dropEntries, jsonOf } from './log-json.ts';

const line = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', ' ', '~') }),
  fc.string({ unit: fc.constantFrom('a', '"', '\\', 'n', ',', 'ü', '\u0000', '\u2028', '\u001b') }),
);

const lines: fc.Arbitrary<LogPiece> = fc
  .record({
    lines: fc.array(line, { minLength: 1, maxLength: 5 }),
    time: fc.integer({ min: 0, max: 2 ** 41 }),
    type: fc.constantFrom(undefined, 'command' as const, 'error' as const),
    partial: fc.boolean(),
    broken: fc.boolean(),
  })
  .map(({ lines, time, type, partial, broken }) => ({
    kind: 'lines',
    run: {
      text: Buffer.concat([Buffer.from(lines.join('\n')), Buffer.from(broken ? [0xff] : [])]),
      count: lines.length,
      time,
      ...(type === undefined ? {} : { type }),
      ...(partial ? { partial } : {}),
    },
  }));

const entry: fc.Arbitrary<LogPiece> = line.map((message) => ({
  kind: 'entry',
  entry: { message, type: 'phase', data: { datetime: '2024-01-01T00:00:00.000Z', extra: [message] } },
}));

const pieces = fc.array(fc.oneof(lines, entry), { maxLength: 5 });

describe('the JSON of pieces', () => {
  it('is that of their entries', () => {
    fc.assert(
      fc.property(pieces, (given) => {
        expect(jsonOf(given, 'ü[', ']').toString()).toBe(`ü${JSON.stringify(entriesOf(given))}`);
      }),
    );
  });

  it('lacks the entries that were dropped', () => {
    fc.assert(
      fc.property(pieces, fc.nat(30), (given, count) => {
        expect(entriesOf(dropEntries(given, count))).toEqual(entriesOf(given).slice(count));
      }),
    );
  });
});
