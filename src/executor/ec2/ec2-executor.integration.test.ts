import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Ec2Front } from '../../../test/fakes/ec2-front.ts';
import { motoImage, startEc2 } from '../../../test/services/ec2.ts';
import { findMoto } from '../../../test/services/moto.ts';
import type { MotoServer } from '../../../test/services/moto-server.ts';
import { systemClock } from '../../base/clock.ts';
import { executorSuite, orderFor, untilGone } from '../executor.suite.ts';
import { userData } from '../ignition/user-data.ts';
import type { WorkerMachine } from '../ignition/worker-machine.ts';
import { Ec2Api } from './ec2-api.ts';
import { Ec2Executor, type Ec2ExecutorOptions } from './ec2-executor.ts';
import type { Ec2Settings } from './ec2-settings.ts';

const moto = await findMoto();
const never = new AbortController().signal;
const region = 'eu-west-1';

const machine: WorkerMachine = {
  image: 'registry.example.com/slipway/worker',
  tag: 'latest',
  containerRuntime: 'podman',
  maxLifetime: 10_800_000,
  sshAuthorizedKeys: [],
  authorities: [],
  proxies: {},
  debug: false,
};

describe.skipIf('missing' in moto)(`ec2 executor ${'missing' in moto ? `(${moto.missing})` : ''}`, () => {
  let server: MotoServer;
  beforeAll(async () => {
    if ('python' in moto) server = await startEc2(moto.python);
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  /** A front of its own, and executors of one installation behind it. */
  async function place() {
    const front = await new Ec2Front(server.url).start();
    const site = `${randomUUID()}.example.com`;
    const executors: Ec2Executor[] = [];
    const troubles: unknown[] = [];
    const newApi = (keys = server.credentials, tries = 1, timeout = 20_000) =>
      Ec2Api.open({ executor: 'burst', region, endpoint: front.url, credentials: keys, tries, timeout });
    const api = await newApi();
    const settings: Ec2Settings = {
      executor: 'burst',
      site,
      ami: motoImage,
      channel: 'stable',
      region,
      instanceType: 't3.large',
      securityGroups: [],
      diskSize: 48,
    };
    // The guest of such a worker powers off at once, which terminates it.
    front.onStarted = async (id, data) => {
      if (tokenIn(data) === 'exit-7') await api.terminate(id, never);
    };
    return {
      front,
      api,
      settings,
      newApi,
      troubles,
      async open(changes: Partial<Ec2ExecutorOptions> = {}): Promise<Ec2Executor> {
        const executor = new Ec2Executor({
          settings,
          api: await newApi(),
          amis: { find: async () => motoImage, forget: () => {} },
          userData: (order) => userData('burst', machine, order),
          debug: false,
          clock: systemClock,
          every: 50,
          onTrouble: (error) => troubles.push(error),
          ...changes,
        });
        executors.push(executor);
        return executor;
      },
      /** As EC2 sees it, past the front's plans. */
      async up(): Promise<string[]> {
        front.recover();
        const all = await api.list(
          [
            { Name: 'tag:SlipwaySite', Values: [site] },
            { Name: 'instance-state-name', Values: ['pending', 'running', 'stopping', 'stopped'] },
          ],
          never,
        );
        return all.map(({ id }) => id);
      },
      async [Symbol.asyncDispose]() {
        front.recover();
        for (const executor of executors) await executor.close();
        for (const id of await this.up()) await api.terminate(id, never);
        api.close();
        await front[Symbol.asyncDispose]();
      },
    };
  }

  executorSuite(async () => {
    const here = await place();
    const refusing = await place();
    refusing.front.plan('RunInstances', { status: 400, code: 'SomethingElse' });
    const executor = await here.open({ maxWorkers: 3 });
    const broken = await refusing.open();
    return {
      executor,
      broken,
      exitCodes: false,
      assertNothingLeft: async () => {
        expect(await here.up()).toEqual([]);
        expect(await refusing.up()).toEqual([]);
      },
      [Symbol.asyncDispose]: async () => {
        await here[Symbol.asyncDispose]();
        await refusing[Symbol.asyncDispose]();
      },
    };
  });

  const started = (front: Ec2Front) =>
    front.calls.filter(({ action }) => action === 'RunInstances').map(({ form }) => Object.fromEntries(form));

  test('starts one instance that ends with its shutdown, on an encrypted disk, with the newer metadata only', async () => {
    await using here = await place();
    const executor = await here.open();
    const order = orderFor('eyJh.eyJi.c2ln');
    const { worker } = await executor.start(order, never);
    expect(worker).toMatch(/^i-[0-9a-f]+$/);
    const [request = {}] = started(here.front);
    expect(request).toMatchObject({
      ClientToken: order.attemptId,
      ImageId: motoImage,
      InstanceType: 't3.large',
      MinCount: '1',
      MaxCount: '1',
      InstanceInitiatedShutdownBehavior: 'terminate',
      'MetadataOptions.HttpTokens': 'required',
      'MetadataOptions.HttpPutResponseHopLimit': '1',
      'BlockDeviceMapping.1.DeviceName': '/dev/xvda',
      'BlockDeviceMapping.1.Ebs.VolumeType': 'gp3',
      'BlockDeviceMapping.1.Ebs.VolumeSize': '48',
      'BlockDeviceMapping.1.Ebs.Encrypted': 'true',
      'BlockDeviceMapping.1.Ebs.DeleteOnTermination': 'true',
    });
    expect(
      Object.keys(request).filter((key) => /^(NetworkInterface|SecurityGroup|KeyName)/.test(key)),
    ).toEqual([]);
    expect(tokenIn(Buffer.from(request.UserData ?? '', 'base64').toString())).toBe(order.token);
  });

  test('gives it a public address in a subnet, groups and a key pair when they are configured', async () => {
    await using here = await place();
    here.front.plan('RunInstances', { status: 400, code: 'InvalidSubnetID.NotFound' });
    const executor = await here.open({
      settings: { ...here.settings, subnet: 'subnet-1', securityGroups: ['sg-1', 'sg-2'], keyName: 'ops' },
    });
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'misconfigured' });
    const [request = {}] = started(here.front);
    expect(request).toMatchObject({
      KeyName: 'ops',
      'NetworkInterface.1.DeviceIndex': '0',
      'NetworkInterface.1.SubnetId': 'subnet-1',
      'NetworkInterface.1.SecurityGroupId.1': 'sg-1',
      'NetworkInterface.1.SecurityGroupId.2': 'sg-2',
      'NetworkInterface.1.AssociatePublicIpAddress': 'true',
    });
    expect(request.SubnetId).toBeUndefined();
    expect(request['SecurityGroupId.1']).toBeUndefined();
  });

  test('tags instance and disk with build and attempt, and with no token', async () => {
    await using here = await place();
    const executor = await here.open();
    const order = orderFor('a-token-nobody-sees');
    await executor.start(order, never);
    const [request = {}] = started(here.front);
    const tags = (specification: number) =>
      Object.fromEntries(
        [1, 2, 3, 4, 5, 6].flatMap((n) => {
          const at = `TagSpecification.${specification}.Tag.${n}`;
          return request[`${at}.Key`] === undefined ? [] : [[request[`${at}.Key`], request[`${at}.Value`]]];
        }),
      );
    const expected = {
      Name: 'Quay Ephemeral Builder',
      BuildUUID: order.buildId,
      SlipwayAttempt: order.attemptId,
      SlipwayExecutor: 'burst',
      SlipwaySite: here.settings.site,
    };
    expect(tags(1)).toEqual(expected);
    expect(tags(2)).toEqual(expected);
    expect(JSON.stringify(tags(1))).not.toContain(order.token);
  });

  test('an answer that was lost is no second instance, here or at another server', async () => {
    await using here = await place();
    here.front.plan('RunInstances', 'lost', 1);
    const first = await here.open();
    const order = orderFor('run');
    await expect(first.start(order, never)).rejects.toMatchObject({ code: 'unavailable' });
    // Whoever looks for workers that nobody needs finds it as well.
    await expect.poll(() => first.running()).toMatchObject([{ attemptId: order.attemptId }]);
    const calls = here.front.count('RunInstances');
    const { worker } = await first.start(order, never);
    expect(here.front.count('RunInstances')).toBe(calls);
    // Its token is signed anew there.
    const second = await here.open();
    expect(await second.start({ ...order, token: 'another' }, never)).toEqual({ worker });
    expect(here.front.count('RunInstances')).toBe(calls + 1);
    expect(await here.up()).toEqual([worker]);
    expect(await second.running()).toEqual([{ worker, attemptId: order.attemptId }]);
  });

  test('an attempt whose instance has ended gets another one, once there is surely none', async () => {
    await using here = await place();
    const first = await here.open();
    const order = orderFor('run');
    const { worker } = await first.start(order, never);
    await here.api.terminate(worker, never);
    const second = await here.open();
    const ended = await second.start({ ...order, token: 'b' }, never).catch((thrown: unknown) => thrown);
    expect(ended).toMatchObject({ code: 'start-failed' });
    const again = await second.start({ ...order, token: 'c' }, never);
    expect(again.worker).not.toBe(worker);
    // A third server finds that one, though it knows nothing of its client token.
    const third = await here.open();
    expect(await third.start({ ...order, token: 'd' }, never)).toEqual(again);
    expect(await here.up()).toEqual([again.worker]);
  });

  test('the SDK’s own repetition of a lost answer is none either', async () => {
    await using here = await place();
    here.front.plan('RunInstances', 'lost', 1);
    const executor = await here.open({ api: await here.newApi(undefined, 3) });
    const { worker } = await executor.start(orderFor('run'), never);
    expect(here.front.count('RunInstances')).toBe(2);
    expect(await here.up()).toEqual([worker]);
  });

  test.each([
    ['RequestLimitExceeded', 503, 'at-capacity'],
    ['Throttling', 400, 'at-capacity'],
    ['InsufficientInstanceCapacity', 500, 'at-capacity'],
    ['VcpuLimitExceeded', 400, 'at-capacity'],
    ['UnauthorizedOperation', 403, 'misconfigured'],
    ['OptInRequired', 401, 'misconfigured'],
    ['InvalidKeyPair.NotFound', 400, 'misconfigured'],
    ['InternalError', 500, 'unavailable'],
    ['Unavailable', 503, 'unavailable'],
    ['NobodyKnowsThis', 400, 'start-failed'],
  ])('%s is %i, which is %s, and a later start goes through', async (code, status, expected) => {
    await using here = await place();
    here.front.plan('RunInstances', { status, code }, 1);
    const executor = await here.open();
    const order = orderFor('run');
    const refused = await executor.start(order, never).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({ name: 'ExecutorError', code: expected });
    expect(String(refused)).toContain(code);
    const { worker } = await executor.start(order, never);
    expect(await here.up()).toEqual([worker]);
  });

  test('wrong keys are a fault of the configuration, which no message repeats', async () => {
    await using here = await place();
    const keys = { accessKey: 'AKIAWRONGKEY000000', secretKey: 'a-secret-that-is-wrong' };
    const executor = await here.open({ api: await here.newApi(keys) });
    const refused = await executor.start(orderFor('run'), never).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({
      code: 'misconfigured',
      message: expect.stringMatching(/AuthFailure.*AWS_ACCESS_KEY and AWS_SECRET_KEY/),
    });
    expect(String(refused)).not.toMatch(/AKIAWRONG|a-secret-that/);
  });

  test('nothing that is thrown, told or logged has the token or the keys in it, whatever EC2 answers', async () => {
    await using here = await place();
    const lines: string[] = [];
    const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) });
    const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';
    const { accessKey, secretKey } = server.credentials;
    const keys = { accessKey, secretKey };
    const shown: string[] = [];
    const show = (thrown: unknown) => {
      log.debug({ err: thrown }, 'thrown');
      shown.push(inspect(thrown, { depth: 20, showHidden: true, getters: true }), String(thrown));
    };
    const executor = await here.open({ api: await here.newApi(keys, 1, 300), onTrouble: show });
    const message = `You sent ${token} with ${accessKey} and ${secretKey}. Encoded authorization failure message: ${token}`;
    for (const answer of [
      { status: 403, code: 'UnauthorizedOperation', message },
      { status: 400, code: 'InvalidParameterValue', message },
      { status: 500, code: 'InternalError', message },
      { status: 200, code: 'nonsense', message },
      { xml: `not ${message}` },
      'lost' as const,
      'hang' as const,
    ]) {
      here.front.recover();
      for (const action of ['RunInstances', 'DescribeInstances', 'TerminateInstances'])
        here.front.plan(action, answer);
      await executor.start(orderFor(token), never).then(() => shown.push('no error'), show);
      await executor.adopt(async () => false).catch(show);
      await executor.stop('i-0123456789abcdef0', never).catch(show);
    }
    expect(shown.length).toBeGreaterThan(20);
    const all = [...shown, ...lines].join('\n');
    expect(all).toContain('[secret]');
    for (const secret of [token, token.slice(0, 30), accessKey, secretKey]) expect(all).not.toContain(secret);
    // What the machine is told holds it, and nothing else does.
    for (const { form } of here.front.calls) {
      form.delete('UserData');
      expect(form.toString()).not.toContain(token);
    }
    expect(inspect(executor, { depth: 20 })).not.toContain(secretKey);
  });

  test('an image or a type that is not there is a fault of the configuration', async () => {
    await using here = await place();
    const forgotten: string[] = [];
    const executor = await here.open({
      settings: { ...here.settings, ami: 'ami-00000000' },
      amis: { find: async () => motoImage, forget: () => forgotten.push('image') },
    });
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringMatching(/InvalidAMIID\.NotFound.*COREOS_AMI/),
    });
    expect(forgotten).toEqual(['image']);
    const other = await here.open({ settings: { ...here.settings, instanceType: 'z9.huge' } });
    await expect(other.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'misconfigured' });
  });

  test('EC2 that hangs or is away is unavailable, and what runs is still known', async () => {
    await using here = await place();
    const executor = await here.open({ api: await here.newApi(undefined, 1, 300) });
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    here.front.plan('RunInstances', 'hang');
    here.front.plan('DescribeInstances', 'hang');
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'unavailable' });
    await expect.poll(() => here.troubles.length).toBe(1);
    expect(await executor.running()).toEqual([{ worker, attemptId: order.attemptId }]);
    expect(await executor.status(worker)).not.toMatchObject({ kind: 'gone' });
    expect(await executor.status('i-0123456789abcdef0')).toEqual({ kind: 'running' });
    const nowhere = await Ec2Api.open({
      executor: 'burst',
      region,
      endpoint: 'http://127.0.0.1:1',
      credentials: server.credentials,
      tries: 1,
    });
    const away = await here.open({ api: nowhere });
    await expect(away.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'unavailable' });
    expect(await away.running()).toEqual([]);
  });

  test('counts what is pending or running, whoever started it, and no other installation’s', async () => {
    await using here = await place();
    await using elsewhere = await place();
    const one = await here.open({ maxWorkers: 2 });
    const two = await here.open({ maxWorkers: 2 });
    const other = await elsewhere.open({ maxWorkers: 2 });
    const { worker } = await one.start(orderFor('run'), never);
    await other.start(orderFor('run'), never);
    await two.start(orderFor('run'), never);
    await expect(one.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'at-capacity' });
    await two.stop(worker, never);
    await one.start(orderFor('run'), never);
    expect(await here.up()).toHaveLength(2);
    await expect.poll(() => two.running()).toHaveLength(2);
    expect(await other.running()).toHaveLength(1);
  });

  test('of starts at the same time as many go through as there is room for', async () => {
    await using here = await place();
    const executor = await here.open({ maxWorkers: 2 });
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => executor.start(orderFor('run'), never)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(await here.up()).toHaveLength(2);
  });

  test('an instance that ends by itself is told of with the last lines of its console', async () => {
    await using here = await place();
    const executor = await here.open();
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    const console = 'boot\n\u001b[31mpanic\u001b[0m\nworker: eyJhbGciOiJF.eyJzdWIiOiIx.c2lnbmF0dXJl\n';
    here.front.plan('GetConsoleOutput', {
      xml: `<GetConsoleOutputResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instanceId>${worker}</instanceId><output>${Buffer.from(console).toString('base64')}</output></GetConsoleOutputResponse>`,
    });
    await here.api.terminate(worker, never);
    expect(await gone).toEqual({
      kind: 'gone',
      reason: expect.stringContaining('was terminated: Client.UserInitiatedShutdown'),
      output: 'boot\npanic\nworker: [token]',
    });
    expect(await executor.status(worker)).toEqual(await gone);
    await executor.stop(worker, never);
  });

  test('a console that cannot be read is no reason to keep quiet', async () => {
    await using here = await place();
    const executor = await here.open();
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    here.front.plan('GetConsoleOutput', { status: 400, code: 'UnsupportedOperation' });
    await here.api.terminate(worker, never);
    expect(await gone).toEqual({ kind: 'gone', reason: expect.any(String) });
  });

  test('one that no list has is on its way for a while, and then gone', async () => {
    await using here = await place();
    let now = 1_000_000;
    const executor = await here.open({ clock: { ...systemClock, now: () => now } });
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    here.front.plan('DescribeInstances', {
      xml: '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet/></DescribeInstancesResponse>',
    });
    const seen = here.front.count('DescribeInstances');
    await expect.poll(() => here.front.count('DescribeInstances')).toBeGreaterThan(seen + 4);
    expect(await executor.status(worker)).not.toMatchObject({ kind: 'gone' });
    now += 60_000;
    expect(await gone).toMatchObject({ reason: expect.stringContaining(worker) });
  });

  test('all instances are looked at by one call', async () => {
    await using here = await place();
    const executor = await here.open({ every: 3_600_000 });
    for (let n = 0; n < 4; n += 1) await executor.start(orderFor('run'), never);
    const looks = () => here.front.calls.filter(({ action }) => action === 'DescribeInstances');
    for (let n = 0; n < 20; n += 1) expect(await executor.running()).toHaveLength(4);
    expect(looks().map(({ form }) => form.get('Filter.4.Name'))).toEqual(['instance-state-name']);
  });

  test('a second life finds its instances, watches what is kept, and ends what nobody needs', async () => {
    await using here = await place();
    await using elsewhere = await place();
    const other = await elsewhere.open();
    const foreign = await other.start(orderFor('run'), never);
    const first = await here.open();
    const [kept, over, dead] = [orderFor('run'), orderFor('run'), orderFor('run')];
    const [keptWorker, overWorker, deadWorker] = [
      (await first.start(kept, never)).worker,
      (await first.start(over, never)).worker,
      (await first.start(dead, never)).worker,
    ];
    await first.close();
    await here.api.terminate(deadWorker, never);

    const second = await here.open();
    await second.adopt(async (attemptId) => attemptId === kept.attemptId);
    expect(await here.up()).toEqual([keptWorker]);
    expect(await elsewhere.up()).toEqual([foreign.worker]);
    expect(await second.status(overWorker)).toMatchObject({ kind: 'gone' });
    // It died while nobody looked; what it said last is still there.
    expect(await second.status(deadWorker)).toMatchObject({ kind: 'gone', output: expect.any(String) });
    const gone = untilGone(second, kept.attemptId);
    await here.api.terminate(keptWorker, never);
    expect(await gone).toMatchObject({ kind: 'gone' });
  });

  test('with DEBUG an instance stays, and counts', async () => {
    await using here = await place();
    const executor = await here.open({ debug: true, maxWorkers: 1 });
    const { worker } = await executor.start(orderFor('run'), never);
    await executor.stop(worker, never);
    await executor.adopt(async () => false);
    expect(await here.up()).toEqual([worker]);
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({ code: 'at-capacity' });
  });

  test('can be asked whether it would start one, which starts none', async () => {
    await using here = await place();
    const executor = await here.open();
    expect(await steps(executor)).toEqual(['reachable', 'allowed']);
    const asked = here.front.calls.map(({ action, form }) => `${action} ${form.get('DryRun')}`);
    expect(asked).toEqual(['DescribeInstances null', 'RunInstances true']);
    expect(await here.up()).toEqual([]);
  });

  test('says which of reaching and being allowed fails', async () => {
    await using here = await place();
    const away = await here.open({ api: await here.newApi(undefined, 1, 300) });
    here.front.plan('DescribeInstances', 'hang');
    expect(await steps(away)).toEqual([expect.stringMatching(/could not list its instances .*reached/)]);
    here.front.recover();
    const stranger = await here.open({
      api: await here.newApi({ accessKey: 'AKIAWRONGKEY000000', secretKey: 'wrong' }),
    });
    expect(await steps(stranger)).toEqual([
      'reachable',
      expect.stringMatching(/AuthFailure.*AWS_ACCESS_KEY/),
    ]);
    const executor = await here.open();
    here.front.plan('RunInstances', { status: 403, code: 'UnauthorizedOperation' });
    expect(await steps(executor)).toEqual([
      'reachable',
      expect.stringMatching(/could not start an instance .*docs\/ec2\.md/),
    ]);
    here.front.recover();
    // The emulator does not look at what a dry run asks for; EC2 does.
    here.front.plan('RunInstances', { status: 400, code: 'InvalidAMIID.NotFound' });
    expect(await steps(executor)).toEqual(['reachable', expect.stringMatching(/InvalidAMIID.*COREOS_AMI/)]);
    expect(await here.up()).toEqual([]);
  });

  test('an instance that runs has been given a machine; what happens on it is not known', async () => {
    await using here = await place();
    const executor = await here.open();
    const { worker } = await executor.start(orderFor('run'), never);
    await vi.waitFor(async () => {
      expect((await executor.status(worker)).kind).toBe('running');
      expect(await executor.progress(worker)).toEqual(['scheduled']);
    });
    expect(await executor.progress('i-00000000000000001')).toEqual([]);
    expect([executor.leavesWorkers, (await here.open({ debug: true })).leavesWorkers]).toEqual([false, true]);
  });

  test('an instance that somebody else ended is stopped without a word, and a stop that fails says so', async () => {
    await using here = await place();
    const executor = await here.open();
    const { worker } = await executor.start(orderFor('run'), never);
    here.front.plan('TerminateInstances', { status: 400, code: 'InvalidInstanceID.NotFound' }, 1);
    await executor.stop(worker, never);
    const { worker: next } = await executor.start(orderFor('run'), never);
    here.front.plan('TerminateInstances', { status: 400, code: 'OperationNotPermitted' }, 1);
    await expect(executor.stop(next, never)).rejects.toMatchObject({ code: 'misconfigured' });
    await executor.stop(next, never);
    expect(await here.up()).not.toContain(next);
  });

  test('user data that EC2 would not take is told before it is asked', async () => {
    await using here = await place();
    const executor = await here.open({ userData: () => 'x'.repeat(16_385) });
    await expect(executor.start(orderFor('run'), never)).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining('EXTRA_CA_CERTS'),
    });
    expect(here.front.count('RunInstances')).toBe(0);
  });
});

interface Ignition {
  readonly storage: {
    readonly files: readonly {
      readonly path: string;
      readonly contents: { readonly source: string; readonly compression?: string };
    }[];
  };
}

/** The registration token that a machine was given. */
function tokenIn(data: string): string | undefined {
  const { storage } = JSON.parse(data) as Ignition;
  const contents = storage.files.find(({ path }) => path === '/root/overrides.list')?.contents;
  const bytes = Buffer.from(contents?.source.split(',')[1] ?? '', 'base64');
  const text = (contents?.compression === 'gzip' ? gunzipSync(bytes) : bytes).toString();
  return /^TOKEN=(.*)$/m.exec(text)?.[1];
}

/** What a check says: the steps that are so, and what is not. */
async function steps(executor: Ec2Executor): Promise<readonly string[]> {
  const passed: string[] = [];
  try {
    for await (const step of executor.check(orderFor('run'), never)) passed.push(step);
  } catch (thrown) {
    passed.push(String(thrown));
  }
  return passed;
}
