import { credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { logText, type MemoryAttempt } from '../../test/fakes/memory-sessions.ts';
import { ReferenceWorker } from '../../test/fakes/reference-worker/reference-worker.ts';
import { JobUnstartable } from '../manager/worker-sessions.ts';
import { BuildManagerClient, type LogBatchReply } from './generated/buildman.ts';

let manager: ManagerServer;
let worker: ReferenceWorker;

beforeEach(async () => {
  manager = await ManagerServer.start();
  worker = await ReferenceWorker.connect(manager.address);
});

afterEach(async () => {
  worker.close();
  await manager.stop(0);
  expect(manager.connections).toBe(0);
});

async function registered(attempt: MemoryAttempt = manager.sessions.add()): Promise<MemoryAttempt> {
  await worker.register(await manager.registrationToken(attempt.identity));
  return attempt;
}

async function statusOf(promise: Promise<unknown>): Promise<{ code: status; details: string }> {
  try {
    await promise;
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && 'details' in thrown) {
      return { code: thrown.code as status, details: String(thrown.details) };
    }
    throw thrown;
  }
  throw new Error('it was answered');
}

describe('a worker that knows only the shared part of the protocol', () => {
  test('goes through a whole build', async () => {
    const attempt = manager.sessions.add({ tags: ['v1', 'latest'] });
    const messages = [
      JSON.stringify({ stream: 'Step 1/2 : FROM base\n' }),
      JSON.stringify({ status: 'Pulling fs layer', id: 'abc', progressDetail: {} }),
      JSON.stringify({ stream: 'hello' }),
      'no JSON at all',
      JSON.stringify({ error: 'it failed', stream: 'ignored' }),
    ];
    const pack = await worker.build(await manager.registrationToken(attempt.identity), { messages });
    expect(pack).toMatchObject({
      build_pack: 'package_url',
      package_url: 'http://127.0.0.1:9/package',
      repository: 'team/app',
      tag_names: ['v1', 'latest'],
      pull_token: 'the-pull-token',
      push_token: 'the-push-token',
    });
    expect(attempt.capabilities).toBeUndefined();
    expect(attempt.reports).toEqual([
      { kind: 'stage', stage: 'unpacking' },
      {
        kind: 'stage',
        stage: 'pulling',
        pullMetadata: { registry_url: '', base_image: 'base', base_image_tag: 'latest', pull_username: '' },
      },
      { kind: 'stage', stage: 'pulling' },
      { kind: 'stage', stage: 'building' },
      { kind: 'stage', stage: 'pushing' },
      { kind: 'complete' },
    ]);
    expect(attempt.log.map(({ text, type }) => [Buffer.from(text).toString(), type])).toEqual([
      ['Step 1/2 : FROM base', 'command'],
      ['Pulling fs layer', undefined],
      ['hello', undefined],
      ['no JSON at all', undefined],
      ['it failed', 'error'],
    ]);
    expect(worker.beats).toEqual(Array(9).fill(true));
  });

  test('gets a git source with its key', async () => {
    const attempt = manager.sessions.add({
      source: { kind: 'git', url: 'git@example.com:a/b.git', sha: 'c0ffee', privateKey: 'KEY' },
      baseImage: { username: 'team+robot', password: 'pw', registry: 'registry.example' },
    });
    const pack = await worker.register(await manager.registrationToken(attempt.identity));
    expect(pack.git_package).toEqual({ url: 'git@example.com:a/b.git', sha: 'c0ffee', private_key: 'KEY' });
    expect(pack.base_image).toEqual({ username: 'team+robot', password: 'pw' });
  });

  test('is told its tag to warm the cache from', async () => {
    await registered(manager.sessions.add({ tags: ['v7'] }));
    expect(await worker.cachedTag()).toBe('v7');
  });

  test('a repeated log message is answered success and stored once; one too far ahead is refused', async () => {
    const attempt = await registered();
    expect(await worker.log('{"stream":"a"}', 'BUILDING', 1)).toEqual({ success: true, sequence_number: 1 });
    expect(await worker.log('{"stream":"a"}', 'BUILDING', 1)).toEqual({ success: true, sequence_number: 1 });
    expect(await worker.log('{"stream":"c"}', 'BUILDING', 3)).toEqual({ success: false, sequence_number: 3 });
    expect(await worker.log('{"stream":"b"}', 'BUILDING', 2)).toEqual({ success: true, sequence_number: 2 });
    expect(logText(attempt)).toBe('a\nb\n');
  });

  test('its log is masked, also where a secret is cut in two', async () => {
    const attempt = await registered(
      manager.sessions.add({ secrets: [{ id: 's', value: Buffer.from('s3cr3t-value') }] }),
    );
    await worker.log('{"stream":"logging in with the-push-token\\n"}');
    await worker.log('{"stream":"x s3cr3t"}');
    await worker.log('{"stream":"-value y\\n"}');
    const text = logText(attempt);
    expect(text).toContain('logging in with ***\n');
    expect(text).not.toMatch(/s3cr|alue/);
  });

  test('hears that the attempt is not its own by reply=false', async () => {
    const attempt = await registered();
    expect(await worker.beat()).toBe(true);
    attempt.alive = false;
    expect(await worker.beat()).toBe(false);
  });
});

describe('refuses with UNAUTHENTICATED', () => {
  const refused = (reason: string) => ({
    code: status.UNAUTHENTICATED,
    details: `Invalid build token: ${reason}`,
  });

  test('a registration token that is none', async () => {
    expect(await statusOf(worker.register('x'))).toEqual(refused('the token is not a JWT'));
  });

  test('a job token where a registration token is needed', async () => {
    const { identity } = manager.sessions.add();
    const token = await manager.tokens.sign('build_job_token', identity, 60);
    expect(await statusOf(worker.register(token))).toEqual(
      refused('the token is not of type build_job_registration'),
    );
  });

  test('a token whose life is over', async () => {
    const { identity } = manager.sessions.add();
    const token = await manager.tokens.sign('build_job_registration', identity, -3600);
    expect(await statusOf(worker.register(token))).toEqual(refused('the token has expired'));
  });

  test('a second registration', async () => {
    const attempt = await registered();
    const again = worker.register(await manager.registrationToken(attempt.identity));
    expect(await statusOf(again)).toEqual(refused('the attempt is registered already'));
  });

  test('every call under an old epoch, and nothing has changed then', async () => {
    const attempt = await registered();
    (attempt.identity as { epoch: number }).epoch = 2;
    const stale = refused('the attempt was given to another worker');
    expect(await statusOf(worker.setPhase('BUILDING'))).toEqual(stale);
    expect(await statusOf(worker.cachedTag())).toEqual(stale);
    expect(await statusOf(worker.log('{"stream":"x"}'))).toEqual(stale);
    expect(await statusOf(worker.beat())).toEqual(stale);
    expect(attempt).toMatchObject({ reports: [], log: [], heartbeats: 0 });
  });

  test('a log message without a token', async () => {
    expect(await statusOf(worker.log('{"stream":"x"}'))).toEqual(refused('there is no token'));
  });
});

test('a job that cannot be started is INTERNAL, and says why', async () => {
  manager.sessions.registerFailure = new JobUnstartable('There is no source.');
  const { identity } = manager.sessions.add();
  const { code, details } = await statusOf(worker.register(await manager.registrationToken(identity)));
  expect(code).toBe(status.INTERNAL);
  expect(details).toContain('There is no source.');
});

test('a fault of ours when a worker registers is UNAVAILABLE, so it asks again, and is not told in detail', async () => {
  manager.sessions.registerFailure = new Error('database at /var/secret is gone');
  const { identity } = manager.sessions.add();
  const { code, details } = await statusOf(worker.register(await manager.registrationToken(identity)));
  expect(code).toBe(status.UNAVAILABLE);
  expect(details).not.toContain('/var/secret');
  expect(manager.logged.some(({ level }) => level === 'error')).toBe(true);
});

test('a message over the size limit ends its stream, and the server goes on', async () => {
  const attempt = await registered();
  const { code } = await statusOf(worker.log('x'.repeat(9 * 1024 * 1024)));
  expect(code).toBe(status.RESOURCE_EXHAUSTED);
  expect(await worker.cachedTag()).toBe('latest');
  expect(attempt.log).toEqual([]);
});

test('stopping ends open streams with UNAVAILABLE, also one whose answer is still being made', async () => {
  await registered();
  let release = () => {};
  const asked = new Promise<void>((resolve) => {
    manager.sessions.beforeLog = () => {
      resolve();
      return new Promise((done) => {
        release = done;
      });
    };
  });
  const pending = statusOf(worker.log('x'));
  await asked;
  await manager.stop(1_000);
  expect((await pending).code).toBe(status.UNAVAILABLE);
  release();
});

describe('LogBatches', () => {
  const line = (text: string) => ({
    text: Buffer.from(text),
    count: 1,
    type: 0 as const,
    time: 1_700_000_000_000,
    partial: false,
  });

  async function open() {
    const attempt = manager.sessions.add();
    const jobJwt = await manager.tokens.sign('build_job_token', attempt.identity, 60);
    const client = new BuildManagerClient(manager.address, credentials.createInsecure());
    const call = client.logBatches();
    const replies = call.iterator({ destroyOnReturn: false }) as AsyncIterator<LogBatchReply>;
    const next = async () => (await replies.next()).value as LogBatchReply;
    return { attempt, jobJwt, call, next, close: () => client.close() };
  }

  test('answers in order, with the token in the first message only, and counts lines itself', async () => {
    const { attempt, jobJwt, call, next, close } = await open();
    for (let n = 1; n <= 20; n++) {
      call.write({
        jobJwt: n === 1 ? jobJwt : '',
        sequenceNumber: n,
        runs: [{ ...line(`a${n}\nb${n}`), count: 99 }],
      });
    }
    for (let n = 1; n <= 20; n++) {
      expect(await next()).toEqual({ sequenceNumber: n, success: true, cancel: false });
    }
    expect(attempt.log).toHaveLength(20);
    expect(attempt.log.every(({ count }) => count === 2)).toBe(true);
    call.end();
    close();
  });

  test('a gap is answered with the last number that is stored', async () => {
    const { attempt, jobJwt, call, next, close } = await open();
    call.write({ jobJwt, sequenceNumber: 1, runs: [line('a')] });
    call.write({ jobJwt: '', sequenceNumber: 3, runs: [line('c')] });
    call.write({ jobJwt: '', sequenceNumber: 2, runs: [line('b')] });
    const replies = [await next(), await next(), await next()];
    expect(replies.map(({ sequenceNumber, success }) => [sequenceNumber, success])).toEqual([
      [1, true],
      [1, false],
      [2, true],
    ]);
    expect(logText(attempt)).toBe('a\nb\n');
    call.end();
    close();
  });

  test('a slow store holds the sender back: few batches are taken in ahead', async () => {
    const { attempt, jobJwt, call, next, close } = await open();
    let held = true;
    manager.sessions.beforeLog = async () => {
      while (held) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const text = 'x'.repeat(1024 * 1024);
    for (let n = 1; n <= 60; n++) call.write({ jobJwt, sequenceNumber: n, runs: [line(text)] });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(attempt.lastSequence).toBe(0);
    expect(call.writableLength).toBeGreaterThan(30);
    held = false;
    for (let n = 1; n <= 60; n++) expect((await next()).sequenceNumber).toBe(n);
    call.end();
    close();
  });

  test('a cancel is told in the answers', async () => {
    const { attempt, jobJwt, call, next, close } = await open();
    manager.sessions.cancel(attempt);
    call.write({ jobJwt, sequenceNumber: 1, runs: [line('a')] });
    expect(await next()).toMatchObject({ cancel: true });
    call.end();
    close();
  });
});
