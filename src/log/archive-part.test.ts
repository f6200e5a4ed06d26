import { execFileSync } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePart, encodePart } from './archive-part.ts';
import { entriesOf, type LogPiece, textOf } from './log-chunk.ts';

const lines: fc.Arbitrary<LogPiece> = fc
  .record({
    lines: fc.array(
      fc.uint8Array({ maxLength: 20 }).map((line) => line.filter((byte) => byte !== 0x0a)),
      { minLength: 1, maxLength: 5 },
    ),
    time: fc.integer({ min: 0, max: 2 ** 45 }),
    type: fc.constantFrom(undefined, 'command' as const, 'error' as const),
    partial: fc.boolean(),
  })
  .map(({ lines: all, time, type, partial }) => ({
    kind: 'lines',
    run: {
      text: Buffer.concat(all.flatMap((line, index) => (index === 0 ? [line] : [Buffer.from('\n'), line]))),
      count: all.length,
      time,
      ...(type === undefined ? {} : { type }),
      ...(partial ? { partial } : {}),
    },
  }));

const entry: fc.Arbitrary<LogPiece> = fc
  .record({
    message: fc.string({ unit: 'binary' }),
    type: fc.constantFrom(undefined, 'phase' as const, 'error' as const),
    data: fc.option(fc.dictionary(fc.string(), fc.jsonValue()), { nil: undefined }),
  })
  .map(({ message, type, data }) => ({
    kind: 'entry',
    entry: JSON.parse(JSON.stringify(type === 'phase' ? { type, message, data } : { message, type, data })),
  }));

const pieces = fc.array(fc.oneof(lines, entry), { maxLength: 8 });

function plain(some: readonly LogPiece[]): unknown {
  return some.map((piece) =>
    piece.kind === 'entry' ? piece : { ...piece, run: { ...piece.run, text: Buffer.from(piece.run.text) } },
  );
}

describe('a part of an archived log', () => {
  it('gives back what it was made of, byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(pieces, async (given) => {
        const found = decodePart(await encodePart(given));
        expect(plain(found)).toEqual(plain(given));
        expect(JSON.stringify(entriesOf(found))).toBe(JSON.stringify(entriesOf(given)));
      }),
      { numRuns: 300 },
    );
  });

  it('is a gzip file of the text, alone and with others', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { minLength: 1, maxLength: 4 }), async (logs) => {
        const parts = await Promise.all(logs.map(encodePart));
        expect(gunzipSync(Buffer.concat(parts))).toEqual(Buffer.concat(logs.map(textOf)));
      }),
      { numRuns: 100 },
    );
  });

  it('is a gzip file for gunzip as well, also when its description is longer than a field', async () => {
    const given: LogPiece[] = Array.from({ length: 40_000 }, (_, n) => ({
      kind: 'lines',
      run: { text: Buffer.from(`${n}`), count: 1, time: (n * 2_654_435_761) % 2 ** 41 },
    }));
    const part = await encodePart(given);
    expect(part.indexOf('SM')).toBe(12);
    const input = Buffer.concat([part, await encodePart([])]);
    expect(execFileSync('gzip', ['-dc'], { input }).equals(textOf(given))).toBe(true);
    expect(entriesOf(decodePart(part))).toEqual(entriesOf(given));
  });

  it('says that it is damaged, wherever it was changed', async () => {
    const given: LogPiece[] = [
      { kind: 'entry', entry: { message: 'building', type: 'phase', data: { tag: 'one' } } },
      { kind: 'lines', run: { text: Buffer.from('a\nb\nc'), count: 3, time: 1 } },
    ];
    const part = await encodePart(given);
    // The time, the operating system and the flags of the compressor say nothing about the content.
    const meaningless = new Set([4, 5, 6, 7, 8, 9]);
    for (let at = 0; at < part.length; at += 1) {
      if (meaningless.has(at)) continue;
      const changed = Buffer.from(part);
      changed[at] = (changed[at] ?? 0) ^ 0xff;
      expect(() => decodePart(changed), `byte ${at}`).toThrow(expect.objectContaining({ code: 'damaged' }));
    }
    for (let length = 0; length < part.length; length += 1) {
      expect(() => decodePart(part.subarray(0, length)), `${length} bytes`).toThrow(
        expect.objectContaining({ code: 'damaged' }),
      );
    }
  });
});
