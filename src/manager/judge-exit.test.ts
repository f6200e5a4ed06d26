import { describe, expect, test } from 'vitest';
import type { AttemptState } from '../model/attempt.ts';
import { judgeExit } from './judge-exit.ts';

const exit = (state: AttemptState, lastLines: string[], exitCode = 1) =>
  judgeExit({ state, lastLines, exitCode, reason: 'exited' });

describe('a worker that just exits', () => {
  test.each<[AttemptState, string, string, string]>([
    ['unpacking', 'git clone: exit status 128', 'error', 'gitfailure'],
    ['unpacking', 'git checkout: reference is not a tree: 0123', 'error', 'gitcheckout'],
    ['unpacking', 'gzip: invalid header', 'error', 'cannotextractbuildpack'],
    ['pulling', 'Error response: manifest unknown', 'error', 'cannotpullbaseimage'],
    ['pulling', 'dial tcp: connection refused', 'internal-error', 'baseimageregistry'],
    ['pulling', 'something else', 'error', 'cannotpullbaseimage'],
    ['building', "The command '/bin/sh -c false' returned a non-zero code: 1", 'error', 'builderror'],
    ['building', 'Dockerfile parse error line 3: unknown instruction: RUNN', 'error', 'dockerfileissue'],
    ['building', 'write /x: no space left on device', 'internal-error', 'diskfull'],
    ['pushing', 'received unexpected HTTP status: 500', 'internal-error', 'pushissue'],
  ])('%s, last line %j: %s %s', (state, line, kind, code) => {
    expect(exit(state, ['some output', line])).toMatchObject({ kind, fault: { code } });
    expect(exit(state, ['some output', line])).toMatchObject({
      fault: { message: expect.stringContaining(line) },
    });
  });

  test('the newest line that says anything decides', () => {
    const lines = ['no space left on device', 'The command returned a non-zero code: 1', ''];
    expect(exit('building', lines)).toMatchObject({ fault: { code: 'builderror' } });
  });

  test.each([0, 137, 143])('with status %d was not beaten by the build', (exitCode) => {
    expect(exit('building', ['exit status 1'], exitCode)).toBeUndefined();
  });

  test('without a word in the log was lost', () => {
    expect(exit('building', [])).toBeUndefined();
    expect(exit('registered', ['hello'])).toBeUndefined();
  });
});
