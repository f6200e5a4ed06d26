import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { DummyExecutor } from '../executor/dummy-executor.ts';
import { orderFor } from '../executor/executor.suite.ts';
import { cordonExecutor, drainExecutor, listExecutors, testExecutor, uncordonExecutor } from './executor.ts';

let server: ApiHarness;
let root: string;
let kim: string;
let here: DummyExecutor;
/** Whether workers register; else they end at once. */
let registers: boolean;
const never = new AbortController().signal;

beforeEach(async () => {
  registers = true;
  here = new DummyExecutor({
    name: 'here',
    clock: systemClock,
    work: async (order, signal) => {
      if (!registers) return { exitCode: 3, output: `no way to it, says ${order.token}` };
      await server.trials.register(order.attemptId);
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      return { exitCode: 0 };
    },
  });
  server = await startApiServer({
    executors: [
      {
        executor: here,
        maxWorkers: 3,
        rules: { minimumRetryThreshold: 1, namespaceWhitelist: ['team'], stagedRollout: 0.25 },
      },
    ],
  });
  root = await server.addUser('root', { superuser: true });
  kim = await server.addUser('kim');
});
afterEach(async () => await server[Symbol.asyncDispose]());

const terminal = (token = root) => new MemoryTerminal({ server: server.url, token });
const list = async (flags: { json?: true } = {}) => {
  const memory = terminal();
  await listExecutors(memory.terminal, flags);
  return memory.printed;
};

it('lists what each takes, what runs and how it does', async () => {
  const [head, first, second] = (await list()).split('\n');
  expect(head).toMatch(/^NAME +TYPE +STATE +RUNNING +BREAKER +TAKES$/);
  expect(first).toMatch(
    /^here +dummy +ready +0 of 3 +closed +team and 25 % of namespaces; with 1 tries left$/,
  );
  expect(second).toMatch(/^idle +dummy +ready +0 +closed +all$/);
  expect(JSON.parse(await list({ json: true }))).toMatchObject({
    executors: [{ name: 'here' }, {}],
    alerts: [],
  });
});

it('cordons and uncordons, which is recorded', async () => {
  const cordoned = terminal();
  await cordonExecutor(cordoned.terminal, 'here', {});
  expect(cordoned.printed).toBe('here gets no new builds.\n');
  expect(await list()).toMatch(/^here +dummy +cordoned \(root\)/m);
  const uncordoned = terminal();
  await uncordonExecutor(uncordoned.terminal, 'here', {});
  expect(uncordoned.printed).toBe('here gets builds again.\n');
  expect(await list()).toMatch(/^here +dummy +ready/m);
  expect((await server.audit.records({ limit: 10 })).map(({ action }) => action)).toEqual([
    'executor.uncordon',
    'executor.cordon',
  ]);
});

it('drains: says how many run, and waits until none does', async () => {
  await here.start(orderFor('run'), never);
  await server.reporter.report();
  const memory = terminal();
  let looks = 0;
  const clock: Clock = {
    ...systemClock,
    sleep: async () => {
      looks += 1;
      if (looks < 2) return;
      for (const { worker } of await here.running()) await here.stop(worker, never);
      await server.reporter.report();
    },
  };
  expect(await drainExecutor(memory.terminal, 'here', { wait: true }, clock)).toBe(0);
  expect(memory.printed).toBe(
    'here gets no new builds.\n1 workers run on it.\nNo worker runs on it any more.\n',
  );
  expect(looks).toBe(2);
  expect(await list()).toMatch(/^here +dummy +drained \(root\)/m);
});

it('stops waiting for a drain at Ctrl-C, and when somebody uncordons it', async () => {
  await here.start(orderFor('run'), never);
  await server.reporter.report();
  const stopped = terminal();
  const interrupting: Clock = { ...systemClock, sleep: async () => stopped.interrupt() };
  expect(await drainExecutor(stopped.terminal, 'here', { wait: true }, interrupting)).toBe(130);
  expect(await list()).toMatch(/^here +dummy +draining \(root\)/m);
  const undone: Clock = {
    ...systemClock,
    sleep: async () => void (await uncordonExecutor(terminal().terminal, 'here', {})),
  };
  await expect(drainExecutor(terminal().terminal, 'here', { wait: true }, undone)).rejects.toMatchObject({
    code: 'refused',
  });
});

it('tests: prints each step, and why one is not passed', async () => {
  const passed = terminal();
  expect(await testExecutor(passed.terminal, 'here', {})).toBe(0);
  expect(passed.printed.replace(/\d+\.\d s/g, 'T')).toBe(
    'ok      started       T\nok      registered    T\nok      stopped       T\n',
  );
  registers = false;
  const failed = terminal();
  expect(await testExecutor(failed.terminal, 'here', { json: true })).toBe(2);
  expect(
    failed.printed
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toMatchObject([
    { step: 'started', passed: true },
    {
      step: 'registered',
      passed: false,
      message:
        'It ended without having registered. The worker exited with status 3. The last it said: no way to it, says (hidden)',
    },
    { step: 'stopped', passed: true },
  ]);
  expect(await here.running()).toEqual([]);
});

it('is for superusers, and for executors that are there', async () => {
  await expect(listExecutors(terminal(kim).terminal, {})).rejects.toMatchObject({ status: 403 });
  for (const run of [cordonExecutor, uncordonExecutor, testExecutor]) {
    await expect(run(terminal(kim).terminal, 'here', {})).rejects.toMatchObject({ status: 403 });
    await expect(run(terminal().terminal, 'nowhere', {})).rejects.toMatchObject({
      status: 404,
      message: expect.stringContaining('here, idle'),
    });
  }
});
