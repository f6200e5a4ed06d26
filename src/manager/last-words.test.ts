import { expect, test } from 'vitest';
import { withoutSecrets } from './last-words.ts';

const unspeakable = {
  secrets: [Buffer.from('hunter2hunter2')],
  openings: [Buffer.from('eyJhbGciOiJFUzI1NiJ9.')],
};
const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';

function shown(output: string, reason = 'It exited.') {
  return withoutSecrets({ kind: 'gone', exitCode: 2, reason, output }, unspeakable);
}

test('secrets and tokens are masked in what a worker printed and in why it is gone', () => {
  expect(shown(`TOKEN=${token} HOME=/root\nPASSWORD=hunter2hunter2`, `Started with ${token}.`)).toEqual({
    kind: 'gone',
    exitCode: 2,
    reason: 'Started with ***',
    output: 'TOKEN=*** HOME=/root\nPASSWORD=***',
  });
  expect(withoutSecrets({ kind: 'gone', reason: 'It exited.' }, unspeakable)).toEqual({
    kind: 'gone',
    reason: 'It exited.',
  });
});

test('what may be the rest of a token that was cut is masked, and nothing else of an output that is whole', () => {
  const line = 'a line of output\n';
  expect(shown(`/usr/lib/a-long-path-of-a-program: failed`).output).toBe(
    '/usr/lib/a-long-path-of-a-program: failed',
  );
  expect(shown(`${token.slice(25)} SERVER=x\n${line.repeat(250)}`).output).toBe(
    `*** SERVER=x\n${line.repeat(250)}`,
  );
});
