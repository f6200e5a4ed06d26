import { expect, test } from 'vitest';
import {
  newAttemptId,
  newBuildId,
  newJobId,
  newUploadId,
  parseAttemptId,
  parseBuildId,
  parseJobId,
  parseUploadId,
} from './ids.ts';

test.each([
  [newBuildId, parseBuildId],
  [newJobId, parseJobId],
  [newAttemptId, parseAttemptId],
  [newUploadId, parseUploadId],
])('a new id parses and is not the one before', (make, parse) => {
  const id = make();
  expect(parse(id)).toBe(id);
  expect(make()).not.toBe(id);
});

test.each([
  '',
  'x',
  newBuildId().toUpperCase(),
  `${newBuildId()}\n`,
  `{${newBuildId()}}`,
  '../../etc/passwd',
])('refuses %j', (text) => {
  expect(parseBuildId(text)).toBeUndefined();
});
