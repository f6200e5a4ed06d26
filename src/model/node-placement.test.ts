import { expect, test } from 'vitest';
import { requirementOf, requirementPattern, tolerationOf, tolerationPattern } from './node-placement.ts';

test.each([
  [
    'dedicated=builds:NoSchedule',
    { key: 'dedicated', operator: 'Equal', value: 'builds', effect: 'NoSchedule' },
  ],
  ['example.com/build:NoExecute', { key: 'example.com/build', operator: 'Exists', effect: 'NoExecute' }],
  ['spot=true', { key: 'spot', operator: 'Equal', value: 'true' }],
  ['spot=:NoSchedule', { key: 'spot', operator: 'Equal', value: '', effect: 'NoSchedule' }],
  ['spot', { key: 'spot', operator: 'Exists' }],
])('the taint %s is tolerated', (text, expected) => {
  expect(tolerationOf(text)).toEqual(expected);
});

test.each([
  ['disktype in (ssd,nvme)', { key: 'disktype', operator: 'In', values: ['ssd', 'nvme'] }],
  ['disktype in (ssd, nvme)', { key: 'disktype', operator: 'In', values: ['ssd', 'nvme'] }],
  [
    'topology.kubernetes.io/zone notin (a)',
    { key: 'topology.kubernetes.io/zone', operator: 'NotIn', values: ['a'] },
  ],
  ['builds', { key: 'builds', operator: 'Exists' }],
  ['!gpu', { key: 'gpu', operator: 'DoesNotExist' }],
])('nodes are asked for by %s', (text, expected) => {
  expect(requirementOf(text)).toEqual(expected);
});

test.each(['', '=x', 'a=b:Never', 'a b', '-a', 'a=b=c', 'a\n:NoSchedule'])('%j is no toleration', (text) => {
  expect(text).not.toMatch(new RegExp(tolerationPattern));
  expect(() => tolerationOf(text)).toThrow(TypeError);
});

test.each(['', '!', 'a in ()', 'a in b', 'a in (b,)', 'a like (b)', 'a  in (b)', '!a in (b)', 'a in (b\n)'])(
  '%j asks for no node',
  (text) => {
    expect(text).not.toMatch(new RegExp(requirementPattern));
    expect(() => requirementOf(text)).toThrow(TypeError);
  },
);
