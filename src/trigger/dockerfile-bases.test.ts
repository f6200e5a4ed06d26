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
  ['a quoted default', 'ARG V="12" W=\'x\'\nFROM debian:$V\nFROM $W', ['debian:12', 'x']],
  ['what is told later', 'FROM debian:$V\nARG V=12\nFROM b', ['debian:', 'b']],
  ['a stage in any case', 'from a as Build\nFROM BUILD', ['a']],
  ['a here-document', 'FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c', ['a', 'c']],
  ['scratch', 'FROM scratch', []],
  ['one twice', 'FROM a AS x\nFROM b\nFROM a', ['a', 'b']],
  ['an argument in another one', 'ARG TAG=3\nARG BASE=alpine:${TAG}\nFROM ${BASE}', ['alpine:3']],
  [
    'every form of a variable',
    'ARG A=1 E=\nFROM a${A:+-x}\nFROM b${N-y}\nFROM c${E-y}\nFROM d${E:-y}\nFROM e${N:+z}\nFROM f${N:-${A}}',
    ['a-x', 'by', 'c', 'dy', 'e', 'f1'],
  ],
  ['quotes', 'ARG V="a\\"b" W="x y"\nFROM "debian:12"\nFROM \'e\':$V', ['debian:12', 'e:a"b']],
  ['a backtick that escapes', '# escape=`\nARG V=1`$\nFROM a:$V', ['a:1$']],
  ['what only the build can tell', 'ARG A=${B##x}\nFROM x:$A\nFROM y:${A/1/2}\nFROM z:${', []],
])('the bases of a Dockerfile: %s', (_name, text, expected) => {
  expect(read(text)).toEqual(expected);
});

test('a Dockerfile without a FROM', () => {
  expect(read('# nothing\n')).toBeUndefined();
});

test('names that no registry could have are left out, and of very many the first are given', () => {
  const long = `ARG A=${'a'.repeat(900)}\nFROM x$A\nFROM $A$A\nFROM b`;
  expect(read(long)).toEqual([`x${'a'.repeat(900)}`, 'b']);
  const many = Array.from({ length: 1000 }, (_, index) => `FROM base${index}`).join('\n');
  expect(read(many)).toHaveLength(200);
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

/** As much as is read of a Dockerfile; a parser whose time grows with the square would need hours for it. */
const size = 1024 * 1024;

it('takes no room for arguments that double each other', () => {
  const doubling = Array.from({ length: 60 }, (_, index) => `ARG A${index + 1}=$A${index}$A${index}`);
  expect(read(`ARG A0=aa\n${doubling.join('\n')}\nFROM $A60`)).toEqual([]);
  expect(read(`ARG A=${'a'.repeat(120_000)}\n${`FROM ${'$A'.repeat(4000)}\n`.repeat(30)}`)).toEqual([]);
});

it.each([
  ['flags', 'FROM ', '--a '],
  ['words', 'FROM ', 'a '],
  ['arguments', 'ARG ', 'a= '],
  ['quotes', 'ARG ', 'a="'],
  ['variables', 'FROM ', '${a:-'],
  ['dollars', 'FROM ', '$a'],
  ['arguments of arguments', 'ARG a=1\nARG ', 'a=$a '],
  ['variables in variables', 'FROM a\nFROM ', '${a-${b-c}}'],
  ['names', 'ARG ', 'a'],
  ['continuations', 'FROM ', '\\\n'],
  ['blanks', 'FROM a', ' \t'],
  ['instructions', '', 'ARG a=b\n'],
  ['stages', '', 'FROM a AS b\n'],
  ['here-documents', 'RUN ', '<<a '],
])('takes no time for a megabyte of %s', (_name, before, piece) => {
  const begun = process.cpuUsage();
  read(`${before}${piece.repeat(size / piece.length)}`);
  const { user } = process.cpuUsage(begun);
  // Of the processor, so that others may keep it busy meanwhile.
  expect(user / 1000).toBeLessThan(5_000);
});
