import { afterEach, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import { ReferenceWorker } from '../../test/fakes/reference-worker/reference-worker.ts';

const workers: ReferenceWorker[] = [];
let manager: ManagerServer | undefined;

afterEach(async () => {
  for (const worker of workers.splice(0)) worker.close();
  await manager?.[Symbol.asyncDispose]();
});

test('1,000 workers, each with a connection of its own and two streams that stay open, are all answered', async () => {
  const started = await ManagerServer.start();
  manager = started;
  const attempts = Array.from({ length: 1_000 }, () => started.sessions.add());
  for (let from = 0; from < attempts.length; from += 50) {
    await Promise.all(
      attempts.slice(from, from + 50).map(async ({ identity }) => {
        const token = await started.registrationToken(identity);
        const worker = await ReferenceWorker.connect(started.address, {
          'grpc.use_local_subchannel_pool': 1,
        });
        workers.push(worker);
        await worker.register(token);
      }),
    );
  }
  expect(started.connections).toBe(1_000);
  for (const round of [1, 2]) {
    const answers = await Promise.all(
      workers.map(async (worker) => [
        await worker.beat(),
        (await worker.log(`{"stream":"${round}\\n"}`)).success,
      ]),
    );
    expect(answers.flat().every((answer) => answer)).toBe(true);
  }
  expect(started.connections).toBe(1_000);
  expect(attempts.every(({ heartbeats, log }) => heartbeats === 2 && log.length === 2)).toBe(true);
});
