import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, formatSpan, formatTable, formatWhen } from './format.ts';

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1536, '1.5 KiB'],
    [10_200, '10 KiB'],
    [1_048_575, '1.0 MiB'],
    [123_456_789, '118 MiB'],
    [5 * 1024 ** 4, '5.0 TiB'],
  ])('shows %d as %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it('never shows a number of more than four digits below 1000 TiB', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1000 * 1024 ** 4 }), (bytes) => {
        expect(formatBytes(bytes)).toMatch(/^(\d{1,4}|\d\.\d) ([KMGT]i)?B$/);
      }),
    );
  });
});

describe('formatSpan', () => {
  it.each([
    [0, '0.0 s'],
    [1234, '1.2 s'],
    [9_999, '10 s'],
    [59_400, '59 s'],
    [59_600, '1 min 0 s'],
    [3_599_000, '59 min 59 s'],
    [3_660_000, '1 h 1 min'],
  ])('shows %d ms as %s', (milliseconds, text) => {
    expect(formatSpan(milliseconds)).toBe(text);
  });
});

describe('formatWhen', () => {
  it('reads RFC 2822 and ISO 8601', () => {
    const rfc = formatWhen('Tue, 14 Nov 2023 22:13:20 -0000');
    expect(rfc).toMatch(/^2023-11-1[45] \d\d:\d\d:20$/);
    expect(formatWhen('2023-11-14T22:13:20.000Z')).toBe(rfc);
  });

  it('leaves what is no date as it is', () => {
    expect(formatWhen('soon')).toBe('soon');
  });
});

describe('formatTable', () => {
  it('makes columns as wide as their widest cell, without spaces at the end', () => {
    expect(
      formatTable([
        ['ID', 'PHASE', 'TAGS'],
        ['1', 'building', ''],
        ['22222', 'x', 'latest'],
      ]),
    ).toEqual(['ID     PHASE     TAGS', '1      building', '22222  x         latest']);
  });
});
