// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a Dockerfile has them.
import fc from 'fast-check';
import { expect, it, test } from 'vitest';
import { basesOf } from './dockerfile-bases.ts';

const read = (text: string) => basesOf(Buffer.from(text));

test.each<[string, string, string[]]>([
  ['one', 'FROM debian:12\nRUN true', ['debian:12']],
  [
    'stages that build on each other',
    'FROM a AS build\nFROM build AS test\nFROM scratch\nFROM b',
    ['a', 'b'],
  ],
  [
    'arguments with a default',
    'ARG V=12\nARG N\nFROM debian:${V}\nFROM x:${N:-y}\nFROM z:$V',
    ['debian:12', 'x:y', 'z:12'],
  ],
  ['a platform', 'FROM --platform=linux/amd64 registry.example.com/a/b:c', ['registry.example.com/a/b:c']],
  ['none', '# nothing\n', []],
])('the bases of a Dockerfile: %s', (_name, text, expected) => {
  expect(read(text)).toEqual(expected);
});

test.each([
  ['FROM a\nBUILD b', /line 2/],
  ['\0', /zero byte/],
])('%j cannot be parsed', (text, why) => {
  expect(read(text)).toMatch(why);
});

it('reads any bytes', () => {
  expect(basesOf(Buffer.of(0xff, 0xfe))).toMatch(/UTF-8/);
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void read(`FROM ${text}`)));
});
