import { ChannelCredentials, type ClientDuplexStream } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { BuildManagerClient, LogType } from './generated/buildman.ts';

const workers = 700;
/** Bytes a worker may cost, both of its sides together, for both are in this process. */
const bytesEach = 1_000_000;

/** Sends one message and waits for its answer. */
function answered<Request, Response>(
  call: ClientDuplexStream<Request, Response>,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    call.once('data', resolve);
    call.once('error', reject);
    call.write(request);
  });
}

test('700 workers have three streams open at once, and each of them is answered', async () => {
  const manager = await ManagerServer.start();
  const before = process.memoryUsage.rss();
  const open = await Promise.all(
    Array.from({ length: workers }, async () => {
      const attempt = manager.sessions.add();
      const jobJwt = await manager.tokens.sign('build_job_token', attempt.identity, 60);
      const client = new BuildManagerClient(manager.address, ChannelCredentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      });
      const streams = [client.heartbeat(), client.logMessage(), client.logBatches()] as const;
      return { attempt, jobJwt, client, streams };
    }),
  );
  try {
    const round = async (n: number): Promise<void> => {
      await Promise.all(
        open.map(async ({ jobJwt, streams: [heartbeat, logMessage, logBatches] }) => {
          expect(await answered(heartbeat, { jobJwt })).toMatchObject({ reply: true });
          const message = { jobJwt, sequenceNumber: 2 * n - 1, logMessage: `line ${n}`, phase: 'building' };
          expect(await answered(logMessage, message)).toMatchObject({ success: true });
          const text = Buffer.from(`batch ${n}`);
          const runs = [{ text, count: 1, type: LogType.OUTPUT, time: 1, partial: false }];
          const batch = { jobJwt, sequenceNumber: 2 * n, runs };
          expect(await answered(logBatches, batch)).toMatchObject({ success: true });
        }),
      );
    };
    for (let n = 1; n <= 3; n += 1) await round(n);
    expect(manager.connections).toBe(workers);
    expect(open.every(({ attempt }) => attempt.lastSequence === 6)).toBe(true);
    expect((process.memoryUsage.rss() - before) / workers).toBeLessThan(bytesEach);
  } finally {
    for (const { client, streams } of open) {
      for (const stream of streams) {
        stream.on('error', () => {});
        stream.cancel();
      }
      client.close();
    }
    await manager.stop(0);
  }
  expect(manager.connections).toBe(0);
});

test('a proxy may carry 2,000 streams of its workers on one connection, and each of them is answered', async () => {
  const streams = 2_000;
  await using manager = await ManagerServer.start();
  const before = process.memoryUsage.rss();
  const client = new BuildManagerClient(manager.address, ChannelCredentials.createInsecure());
  const open = await Promise.all(
    Array.from({ length: streams }, async () => {
      const { identity } = manager.sessions.add();
      return { jobJwt: await manager.tokens.sign('build_job_token', identity, 60), call: client.heartbeat() };
    }),
  );
  try {
    // All are answered before the first of them ends.
    const replies = await Promise.all(open.map(({ jobJwt, call }) => answered(call, { jobJwt })));
    expect(replies.every(({ reply }) => reply)).toBe(true);
    expect(manager.connections).toBe(1);
    expect((process.memoryUsage.rss() - before) / streams).toBeLessThan(bytesEach / 3);
    // And a call still finds room.
    const pong = await new Promise((resolve, reject) =>
      client.ping({}, (error, answer) => (error === null ? resolve(answer) : reject(error))),
    );
    expect(pong).toMatchObject({ reply: 'pong' });
  } finally {
    for (const { call } of open) {
      call.on('error', () => {});
      call.cancel();
    }
    client.close();
  }
});
