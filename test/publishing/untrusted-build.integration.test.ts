import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PushRight } from '../../src/manager/registry-credentials.ts';
import { newAttemptId, newBuildId, newJobId } from '../../src/model/ids.ts';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

let server: WholeServer;
beforeAll(async () => {
  server = await startWholeServer();
});
afterAll(async () => await server?.[Symbol.asyncDispose]());

test.each<[PushRight['kind'], boolean, readonly string[], readonly string[]]>([
  ['by-digest', false, ['pull'], ['pull', 'push']],
  ['nothing', false, ['pull'], ['pull']],
  ['nothing', true, [], []],
])(
  'a build that may push %s, untrusted %s, has no more rights than that',
  async (push, untrusted, pull, all) => {
    const made = await server.registry.credentials.issue({
      identity: { buildId: newBuildId(), jobId: newJobId(), attemptId: newAttemptId(), epoch: 1 },
      repository: { namespace: 'kim', name: 'app' },
      push: push === 'tags' ? { kind: push, tags: [] } : { kind: push },
      untrusted,
      expiresAt: Date.now() + 60_000,
    });
    expect(decodeJwt(made.pullToken).actions).toEqual(pull);
    expect(decodeJwt(made.pushToken).actions).toEqual(all);
  },
);
