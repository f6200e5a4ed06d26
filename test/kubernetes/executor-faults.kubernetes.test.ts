import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { orderFor, untilGone } from '../../src/executor/executor.suite.ts';
import { ExecutorError } from '../../src/executor/executor-error.ts';
import { openConnection } from '../../src/executor/kubernetes/connection.ts';
import { jobNameOf } from '../../src/executor/kubernetes/labels.ts';
import { ApiProxy, type PassingCall } from './api-proxy.ts';
import { findBinaries } from './binaries.ts';
import { account, Cluster, manual, nameOf, namespace, patient } from './cluster.ts';

const never = new AbortController().signal;
const role = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles/slipway`;

/** Where a call leads to: `POST jobs`. */
const to =
  (method: string, resource: string) =>
  (call: PassingCall): boolean =>
    call.method === method && new RegExp(`/${resource}(/[^/]+)?$`).test(call.path) && !call.watch;

async function refusal(starting: Promise<unknown>): Promise<ExecutorError> {
  const thrown: unknown = await starting.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(ExecutorError);
  return thrown as ExecutorError;
}

describe.skipIf('missing' in findBinaries())('workers on Kubernetes', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start();
  }, 300_000);

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  test('all files of the documentation can be applied', async () => {
    await cluster.plane.admin.apply(manual('quota.yaml', 'network-policy.yaml'));
    await cluster.plane.admin.delete(`/api/v1/namespaces/${namespace}/resourcequotas/builds`);
  });

  describe('a start', () => {
    test.each([
      ['POST', 'jobs'],
      ['POST', 'secrets'],
      ['PATCH', 'jobs'],
    ])('whose answer to %s %s is lost makes one worker', async (method, resource) => {
      await using proxy = await ApiProxy.open(cluster.plane);
      const executor = cluster.executor({ server: proxy.host });
      const order = orderFor('run');
      proxy.loseAnswers(to(method, resource));
      const { worker } = await executor.start(order, never);
      expect(proxy.lost).toHaveLength(1);
      await cluster.podOf(order);
      expect((await cluster.jobs(`build=${order.buildId}`)).map(nameOf)).toEqual([worker]);
      expect(await cluster.secrets(`build=${order.buildId}`)).toHaveLength(1);
      expect(await cluster.pods(`build=${order.buildId}`)).toHaveLength(1);
      await executor.stop(worker, never);
      await cluster.nothingLeft(executor);
      await executor.close();
    });

    test('that another manager repeats makes one worker', async () => {
      const order = orderFor('run');
      const settings = { name: 'shared' };
      const [one, two] = [
        cluster.executor({ settings }),
        cluster.executor({ settings, manager: 'manager-2' }),
      ];
      const started = await Promise.all([one.start(order, never), two.start(order, never)]);
      expect(started[0]).toEqual(started[1]);
      expect(await cluster.jobs(`build=${order.buildId}`)).toHaveLength(1);
      await two.stop(started[1].worker, never);
      await cluster.nothingLeft(one);
      await Promise.all([one.close(), two.close()]);
    });

    test('that breaks off leaves nothing that runs', async () => {
      await using proxy = await ApiProxy.open(cluster.plane);
      const executor = cluster.executor({ server: proxy.host });
      proxy.refuse(to('POST', 'secrets'), 422);
      expect(await refusal(executor.start(orderFor('run'), never))).toMatchObject({ code: 'start-failed' });
      await cluster.nothingLeft(executor);
      const given = new AbortController();
      proxy.delay(to('POST', 'secrets'), 60_000);
      const starting = executor.start(orderFor('run'), given.signal);
      await vi.waitFor(() => expect(proxy.calls.filter(to('POST', 'secrets'))).toHaveLength(2), patient);
      given.abort(new Error('given up'));
      await expect(starting).rejects.toThrow('given up');
      await cluster.nothingLeft(executor);
      await executor.close();
    });

    test('after a stop of the same attempt makes a new worker', async () => {
      const executor = cluster.executor();
      const order = orderFor('run');
      const { worker } = await executor.start(order, never);
      await executor.stop(worker, never);
      expect(await executor.start(order, never)).toEqual({ worker });
      expect(await executor.running()).toHaveLength(1);
      await executor.stop(worker, never);
      await cluster.nothingLeft(executor);
      await executor.close();
    });

    test('gives the pod its token, and nothing of the cluster', async () => {
      const executor = cluster.executor();
      const order = orderFor('run');
      const { worker } = await executor.start(order, never);
      const pod = await cluster.podOf(order);
      expect(pod.metadata.labels).toMatchObject({
        build: order.buildId,
        manager: 'manager-1',
        'quay-sha': '0.1.0',
      });
      expect(await cluster.kubelet.environmentOf(pod.metadata.name)).toMatchObject({
        TOKEN: 'run',
        BUILD_UUID: order.buildId,
        SERVER: order.server,
        HTTPS_PROXY: 'http://user:proxy-password-9f2c@proxy.test:3128',
        CA_CERT: '-----BEGIN CERTIFICATE-----\n',
      });
      expect(JSON.stringify(pod.spec)).not.toContain('serviceaccount/token');
      expect(pod.spec.volumes.map(({ name }: { readonly name: string }) => name)).toEqual(['certs']);
      await executor.stop(worker, never);
      await executor.close();
    });
  });

  describe('a check', () => {
    /** The steps that are so, and what is not. */
    async function steps(executor: ReturnType<Cluster['executor']>): Promise<readonly string[]> {
      const passed: string[] = [];
      try {
        for await (const step of executor.check(orderFor('run'), never)) passed.push(step);
      } catch (thrown) {
        passed.push(String(thrown));
      }
      await cluster.nothingLeft(executor);
      await executor.close();
      return passed;
    }

    test('by the role of the documentation finds everything, and makes nothing', async () => {
      expect(await steps(cluster.executor())).toEqual(['reachable', 'allowed']);
    });

    test('tells who cannot reach from who may not', async () => {
      expect(await steps(cluster.executor({ server: '127.0.0.1:1' }))).toEqual([
        expect.stringMatching(/cannot be reached/),
      ]);
      expect(await steps(cluster.executor({ token: () => 'not-a-token-7d1e' }))).toEqual([
        'reachable',
        expect.stringMatching(/does not know its token/),
      ]);
      expect(await steps(cluster.executor({ settings: { namespace: 'elsewhere' } }))).toEqual([
        'reachable',
        expect.stringMatching(/may not create jobs, .* in namespace elsewhere/),
      ]);
    });

    test('names every right that is missing, also those that only a death needs', async () => {
      const { rules } = (await cluster.plane.admin.get(role)) as unknown as { readonly rules: Rule[] };
      const few = without(without(rules, 'get', 'pods/log', ''), 'delete', 'jobs', 'batch');
      await cluster.plane.admin.patch(role, { rules: few });
      try {
        await vi.waitFor(
          async () =>
            expect(await steps(cluster.executor())).toEqual([
              'reachable',
              expect.stringMatching(/may not delete jobs, get pods\/log in namespace builder.*role\.yaml/),
            ]),
          patient,
        );
      } finally {
        await cluster.plane.admin.apply(manual('role.yaml'));
      }
      await vi.waitFor(
        async () => expect(await steps(cluster.executor())).toEqual(['reachable', 'allowed']),
        patient,
      );
    });

    test('of a worker under way tells when it has a node and its image', async () => {
      const executor = cluster.executor();
      const order = orderFor('wait');
      const { worker } = await executor.start(order, never);
      await vi.waitFor(async () => expect(await executor.progress(worker)).toEqual(['scheduled']), patient);
      await cluster.set(order, { kind: 'running' });
      await vi.waitFor(
        async () => expect(await executor.progress(worker)).toEqual(['scheduled', 'image-pulled']),
        patient,
      );
      await executor.stop(worker, never);
      await cluster.nothingLeft(executor);
      await executor.close();
    });
  });

  describe('who may not', () => {
    test('with a wrong token, is told so without it', async () => {
      const executor = cluster.executor({ token: () => 'not-a-token-7d1e' });
      const error = await refusal(executor.start(orderFor('run'), never));
      expect(error).toMatchObject({ code: 'misconfigured', message: expect.stringContaining('401') });
      expect(error.message).not.toContain('not-a-token-7d1e');
      await executor.close();
    });

    test('with a rotated token, goes on', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'slipway-token-'));
      const file = join(folder, 'token');
      writeFileSync(file, 'an-old-token\n');
      const executor = cluster.executor({
        options: {
          connection: openConnection({
            server: cluster.plane.host,
            kubeconfig: undefined,
            ca: cluster.plane.authority.file,
            certificate: undefined,
            verifyTls: true,
            token: undefined,
            tokenFile: file,
          }),
        },
      });
      expect(await refusal(executor.start(orderFor('run'), never))).toMatchObject({ code: 'misconfigured' });
      writeFileSync(file, `${cluster.token}\n`);
      const { worker } = await executor.start(orderFor('run'), never);
      await executor.stop(worker, never);
      await executor.close();
      rmSync(folder, { recursive: true });
    });

    test('by a kubeconfig and its client certificate, may', async () => {
      const executor = cluster.executor({
        options: {
          connection: openConnection({
            server: undefined,
            kubeconfig: cluster.plane.kubeconfigFile,
            ca: undefined,
            certificate: undefined,
            verifyTls: true,
            token: undefined,
            tokenFile: undefined,
          }),
        },
      });
      const { worker } = await executor.start(orderFor('run'), never);
      await executor.stop(worker, never);
      await executor.close();
    });

    test.each([
      ['create', 'jobs', 'batch'],
      ['patch', 'jobs', 'batch'],
      ['create', 'secrets', ''],
      ['list', 'pods', ''],
      ['list', 'jobs', 'batch'],
    ])('%s %s, reads which right is missing and where it is', async (verb, resource, group) => {
      const { rules } = (await cluster.plane.admin.get(role)) as unknown as { readonly rules: Rule[] };
      await cluster.plane.admin.patch(role, { rules: without(rules, verb, resource, group) });
      const executor = cluster.executor();
      try {
        const message = await vi.waitFor(async () => {
          const order = orderFor('run');
          const error = await refusal(executor.start(order, never));
          expect(error).toMatchObject({ code: 'misconfigured' });
          return error.message;
        }, patient);
        expect(message).toMatch(new RegExp(`may not ${verb} ${resource} in namespace builder.*role\\.yaml`));
      } finally {
        await cluster.plane.admin.apply(manual('role.yaml'));
        for (const { worker } of await executor.running()) await executor.stop(worker, never);
        await cluster.nothingLeft(executor);
        await executor.close();
      }
    });

    test('read logs and events, still hears of a death', async () => {
      const { rules } = (await cluster.plane.admin.get(role)) as unknown as { readonly rules: Rule[] };
      const few = without(without(rules, 'get', 'pods/log', ''), 'list', 'events', '');
      await cluster.plane.admin.patch(role, { rules: few });
      const executor = cluster.executor();
      const order = orderFor('exit-3');
      const gone = untilGone(executor, order.attemptId);
      const { worker } = await executor.start(order, never);
      expect(await gone).toMatchObject({ exitCode: 3, output: expect.stringContaining('could not be read') });
      await cluster.plane.admin.apply(manual('role.yaml'));
      await executor.stop(worker, never);
      await executor.close();
    });

    test('have more Jobs than the quota, waits', async () => {
      const quota = `/api/v1/namespaces/${namespace}/resourcequotas/few`;
      const before = (await cluster.jobs()).length;
      await cluster.plane.admin.create(`/api/v1/namespaces/${namespace}/resourcequotas`, {
        metadata: { name: 'few' },
        spec: { hard: { 'count/jobs.batch': String(before) } },
      });
      await vi.waitFor(
        async () => expect((await cluster.plane.admin.get(quota)).status?.used).toBeDefined(),
        patient,
      );
      const executor = cluster.executor();
      expect(await refusal(executor.start(orderFor('run'), never))).toMatchObject({
        code: 'at-capacity',
        message: expect.stringMatching(/quota of namespace builder is used up.*exceeded quota: few/),
      });
      const checking = executor.check(orderFor('run'), never)[Symbol.asyncIterator]();
      expect(await checking.next()).toMatchObject({ value: 'reachable' });
      await expect(checking.next()).rejects.toMatchObject({ code: 'at-capacity' });
      await cluster.plane.admin.delete(quota);
      await cluster.nothingLeft(executor);
      await executor.close();
    });

    test('reach the API, hears why', async () => {
      const nobody = cluster.executor({ server: '127.0.0.1:1' });
      expect(await refusal(nobody.start(orderFor('run'), never))).toMatchObject({
        code: 'unavailable',
        message: expect.stringContaining('ECONNREFUSED'),
      });
      expect(await nobody.running()).toEqual([]);
      const stranger = cluster.executor({
        ca: (await cluster.plane.authority.forServer('other')).certificateFile,
      });
      expect(await refusal(stranger.start(orderFor('run'), never))).toMatchObject({
        code: 'misconfigured',
        message: expect.stringContaining('K8S_API_TLS_CA'),
      });
      const elsewhere = cluster.executor({ settings: { namespace: 'nowhere' } });
      expect(await refusal(elsewhere.start(orderFor('run'), never))).toMatchObject({ code: 'misconfigured' });
      await Promise.all([nobody.close(), stranger.close(), elsewhere.close()]);
    });
  });

  describe('a worker that', () => {
    async function gone(
      token: string,
      choice: Parameters<Cluster['executor']>[0],
      then: Deed,
    ): Promise<Ended> {
      const executor = cluster.executor(choice);
      const order = orderFor(token);
      const ending = untilGone(executor, order.attemptId);
      const { worker } = await executor.start(order, never);
      await then(order, worker);
      const status = await ending;
      expect(await executor.status(worker)).toEqual(status);
      expect(await executor.running()).toEqual([]);
      await executor.stop(worker, never);
      await cluster.nothingLeft(executor);
      // Kept for whoever asks, after all of it is gone.
      expect(await executor.status(worker)).toEqual(status);
      await executor.close();
      return status as Ended;
    }

    test('dies is told of with its log and events', async () => {
      const status = await gone('run', {}, async (order) => {
        const { metadata } = await cluster.podOf(order);
        cluster.kubelet.node.setLog(
          namespace,
          metadata.name,
          'one\n\u001b[31mtwo\u001b[0m\nthe last words\n',
        );
        await cluster.plane.admin.create(`/api/v1/namespaces/${namespace}/events`, {
          metadata: { name: `${metadata.name}.1`, namespace },
          involvedObject: { kind: 'Pod', namespace, name: metadata.name, uid: metadata.uid },
          type: 'Warning',
          reason: 'Unhealthy',
          message: 'it looked bad',
        });
        await cluster.set(order, { kind: 'running' });
        await cluster.set(order, { kind: 'failed', exitCode: 70 });
      });
      expect(status).toMatchObject({
        exitCode: 70,
        reason: 'The worker exited with status 70. Kubernetes says: Unhealthy: it looked bad',
        output: 'one\ntwo\nthe last words',
      });
    });

    test.each([
      [{ kind: 'oom-killed' }, /OOMKilled, limit 5120Mi/],
      [{ kind: 'evicted' }, /Evicted: The node was low on resource: memory/],
      [{ kind: 'image-pull-back-off' }, /ImagePullBackOff.*IMAGE_PULL_SECRET_NAME/],
      [
        { kind: 'config-error', message: 'secret "x" not found' },
        /CreateContainerConfigError: secret "x" not found/,
      ],
    ] as const)('is %j is told of by that name', async (state, reason) => {
      const status = await gone('wait', { options: { pullPatience: 1_000 } }, (order) =>
        cluster.set(order, state),
      );
      expect(status.reason).toMatch(reason);
    });

    test('no node takes is told of in the scheduler’s words', async () => {
      const choice = { settings: { nodeSelector: { key: 'nowhere', value: 'true' }, setupTime: 3_000 } };
      const status = await gone('run', choice, async () => {});
      expect(status.reason).toMatch(
        /did not start within 3 s\. No node takes the worker \(Unschedulable: 0\/1 nodes/,
      );
    });

    test('is for other nodes than there are is told of likewise, and takes a tainted node that it tolerates', async () => {
      const choice = { settings: { nodeAffinity: ['disktype in (ssd,nvme)', '!gpu'], setupTime: 3_000 } };
      const status = await gone('run', choice, async () => {});
      expect(status.reason).toMatch(/Unschedulable: 0\/1 nodes.*didn't match Pod's node affinity/);
      const [node] = await cluster.plane.admin.list('/api/v1/nodes');
      const path = `/api/v1/nodes/${nameOf(node as NonNullable<typeof node>)}`;
      const taints = [{ key: 'dedicated', value: 'builds', effect: 'NoSchedule' }];
      await cluster.plane.admin.patch(path, { spec: { taints } });
      try {
        const refused = await gone('run', { settings: { setupTime: 3_000 } }, async () => {});
        expect(refused.reason).toMatch(/untolerated taint/);
        const settings = {
          tolerations: ['dedicated=builds:NoSchedule'],
          nodeAffinity: ['!gpu'],
          appArmorProfile: 'RuntimeDefault',
        };
        expect(await gone('exit-3', { settings }, async () => {})).toMatchObject({ exitCode: 3 });
      } finally {
        await cluster.plane.admin.patch(path, { spec: { taints: null } });
      }
    });

    test('runs too long is told of by the key that says so', async () => {
      const status = await gone('run', { settings: { maximumJobTime: 2_000 } }, async () => {});
      expect(status.reason).toMatch(/MAXIMUM_JOB_TIME/);
    });

    test('loses its pod is told of', async () => {
      const status = await gone('run', {}, async (order) => {
        const { metadata } = await cluster.podOf(order);
        await cluster.plane.admin.delete(`/api/v1/namespaces/${namespace}/pods/${metadata.name}`);
      });
      expect(status.reason).toMatch(/was deleted by somebody else|exited with status 137/);
    });

    test('loses its Job is told of', async () => {
      const status = await gone('run', {}, async (_, worker) => {
        await cluster.plane.admin.delete(`/apis/batch/v1/namespaces/${namespace}/jobs/${worker}`, {
          propagationPolicy: 'Background',
        });
      });
      expect(status.reason).toMatch(
        /is not there any more|was deleted by somebody else|exited with status 137/,
      );
    });

    test('the cluster does not admit is told of in the words of the rule', async () => {
      const label = (value: string) =>
        cluster.plane.admin.patch(`/api/v1/namespaces/${namespace}`, {
          metadata: { labels: { 'pod-security.kubernetes.io/enforce': value } },
        });
      await label('baseline');
      try {
        const status = await gone('run', { settings: { type: 'kubernetes' } }, async () => {});
        expect(status.reason).toMatch(/does not admit the worker's pod .*violates PodSecurity "baseline/);
      } finally {
        await label('privileged');
      }
    });

    test('has no room in the quota lets others wait, and goes on when there is', async () => {
      const quota = `/api/v1/namespaces/${namespace}/resourcequotas/no-pods`;
      await cluster.plane.admin.create(`/api/v1/namespaces/${namespace}/resourcequotas`, {
        metadata: { name: 'no-pods' },
        spec: { hard: { pods: '0' } },
      });
      await vi.waitFor(
        async () => expect((await cluster.plane.admin.get(quota)).status?.used).toBeDefined(),
        patient,
      );
      const executor = cluster.executor();
      const order = orderFor('run');
      const { worker } = await executor.start(order, never);
      await vi.waitFor(async () => {
        const error = await refusal(executor.start(orderFor('run'), never));
        expect(error).toMatchObject({
          code: 'at-capacity',
          message: expect.stringContaining('exceeded quota'),
        });
      }, patient);
      await cluster.plane.admin.delete(quota);
      await vi.waitFor(async () => expect(await executor.status(worker)).toEqual({ kind: 'running' }), {
        ...patient,
        timeout: 100_000,
      });
      for (const each of await executor.running()) await executor.stop(each.worker, never);
      await cluster.nothingLeft(executor);
      await executor.close();
    });
  });

  test('the next life of a manager finds its workers, and ends those that nobody needs', async () => {
    const settings = { name: 'lives' };
    const before = cluster.executor({ settings });
    const [kept, dropped, died] = [orderFor('run'), orderFor('run'), orderFor('run')];
    const workers = await Promise.all([kept, dropped, died].map((order) => before.start(order, never)));
    await before.close();
    await cluster.set(died, { kind: 'failed', exitCode: 9 });
    const after = cluster.executor({ settings });
    const told = untilGone(after, died.attemptId);
    await after.adopt(async (attemptId) => attemptId !== dropped.attemptId);
    expect((await told).kind).toBe('gone');
    expect((await after.running()).map(({ attemptId }) => attemptId)).toEqual([kept.attemptId]);
    const ending = untilGone(after, kept.attemptId);
    await cluster.set(kept, { kind: 'oom-killed' });
    expect(await ending).toMatchObject({ reason: expect.stringContaining('OOMKilled') });
    for (const { worker } of workers) await after.stop(worker, never);
    await cluster.nothingLeft(after);
    await after.close();
  });

  test('another manager sees a worker and how it ended, and leaves the telling to the first', async () => {
    const settings = { name: 'seen' };
    const [mine, other] = [
      cluster.executor({ settings }),
      cluster.executor({ settings, manager: 'manager-2' }),
    ];
    const told: string[] = [];
    other.onGone(({ worker }) => told.push(worker));
    await other.adopt(async () => true);
    const order = orderFor('run');
    const { worker } = await mine.start(order, never);
    await vi.waitFor(async () => expect(await other.status(worker)).toEqual({ kind: 'running' }), patient);
    expect(await other.running()).toEqual([{ worker, attemptId: order.attemptId }]);
    const gone = untilGone(mine, order.attemptId);
    await cluster.set(order, { kind: 'failed', exitCode: 5 });
    await gone;
    await vi.waitFor(
      async () => expect(await other.status(worker)).toMatchObject({ kind: 'gone', exitCode: 5 }),
      patient,
    );
    expect(told).toEqual([]);
    await other.stop(worker, never);
    await cluster.nothingLeft(mine);
    await Promise.all([mine.close(), other.close()]);
  });

  test('another Slipway in the same namespace sees nothing of it', async () => {
    const settings = { name: 'same-name' };
    const [mine, other] = [
      cluster.executor({ settings }),
      cluster.executor({ settings, site: 'other.example.com' }),
    ];
    const { worker } = await mine.start(orderFor('run'), never);
    await other.adopt(async () => false);
    expect(await other.running()).toEqual([]);
    expect(await mine.running()).toHaveLength(1);
    await mine.stop(worker, never);
    await cluster.nothingLeft(mine);
    await Promise.all([mine.close(), other.close()]);
  });

  test('in DEBUG a worker stays after its build, and counts', async () => {
    const executor = cluster.executor({ settings: { debug: true }, options: { maxWorkers: 1 } });
    const { worker } = await executor.start(orderFor('run'), never);
    await executor.stop(worker, never);
    expect(await executor.running()).toHaveLength(1);
    expect(await refusal(executor.start(orderFor('run'), never))).toMatchObject({ code: 'at-capacity' });
    const [job] = (await cluster.jobs()).filter((each) => nameOf(each) === worker);
    expect(job?.spec.ttlSecondsAfterFinished).toBeUndefined();
    await cluster.plane.admin.delete(`/apis/batch/v1/namespaces/${namespace}/jobs/${worker}`, {
      propagationPolicy: 'Background',
    });
    await executor.close();
  });

  test('a pod that outlives its Job is removed', async () => {
    const executor = cluster.executor();
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    await cluster.podOf(order);
    await cluster.plane.admin.delete(`/apis/batch/v1/namespaces/${namespace}/jobs/${worker}`, {
      propagationPolicy: 'Orphan',
    });
    await vi.waitFor(
      async () => {
        await executor.running();
        expect(await cluster.pods(`build=${order.buildId}`)).toEqual([]);
      },
      { ...patient, timeout: 90_000 },
    );
    await executor.close();
  });

  test('a watch that is cut delays nothing for long', async () => {
    await using proxy = await ApiProxy.open(cluster.plane);
    const executor = cluster.executor({ server: proxy.host });
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    await vi.waitFor(() => expect(proxy.watches).toBe(1), patient);
    proxy.refuse(({ watch }) => watch, 500, {}, 1_000);
    expect(proxy.cutWatches()).toBe(1);
    const gone = untilGone(executor, order.attemptId);
    await cluster.set(order, { kind: 'failed', exitCode: 4 });
    expect(await gone).toMatchObject({ exitCode: 4 });
    // Expired: it begins again with the next look.
    proxy.mend();
    proxy.refuse(({ watch }) => watch, 410);
    const { worker: next } = await executor.start(orderFor('run'), never);
    await vi.waitFor(() => expect(proxy.watches).toBe(1), patient);
    await executor.stop(worker, never);
    await executor.stop(next, never);
    await executor.close();
  });

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'builds outlive an API server that ends by %s',
    async (signal) => {
      const executor = cluster.executor();
      const orders = [orderFor('run'), orderFor('run')] as const;
      const told: string[] = [];
      executor.onGone(({ attemptId }) => told.push(attemptId));
      const workers = await Promise.all(orders.map((order) => executor.start(order, never)));
      for (const { worker } of workers)
        await vi.waitFor(
          async () => expect(await executor.status(worker)).toEqual({ kind: 'running' }),
          patient,
        );
      await cluster.plane.stopApiServer(signal);
      await systemClock.sleep(2_500);
      for (const { worker } of workers) expect(await executor.status(worker)).toEqual({ kind: 'running' });
      expect(await executor.running()).toHaveLength(2);
      expect(told).toEqual([]);
      await cluster.plane.startApiServer();
      const gone = untilGone(executor, orders[0].attemptId);
      await cluster.set(orders[0], { kind: 'failed', exitCode: 6 });
      expect(await gone).toMatchObject({ exitCode: 6 });
      expect(told).toEqual([orders[0].attemptId]);
      for (const { worker } of workers) await executor.stop(worker, never);
      await cluster.nothingLeft(executor);
      await executor.close();
    },
  );

  test('200 workers at once', { timeout: 300_000 }, async () => {
    const executor = cluster.executor();
    const orders = Array.from({ length: 200 }, () => orderFor('run'));
    const started = await Promise.all(orders.map((order) => executor.start(order, never)));
    expect(new Set(started.map(({ worker }) => worker)).size).toBe(200);
    expect(started.map(({ worker }) => worker)).toEqual(orders.map(jobNameOf));
    expect(await executor.running()).toHaveLength(200);
    await vi.waitFor(
      async () => {
        const statuses = await Promise.all(started.map(({ worker }) => executor.status(worker)));
        expect(statuses.filter(({ kind }) => kind !== 'running')).toEqual([]);
      },
      { timeout: 200_000, interval: 250 },
    );
    await Promise.all(started.map(({ worker }) => executor.stop(worker, never)));
    expect(await executor.running()).toEqual([]);
    await cluster.nothingLeft(executor);
    await executor.close();
  });

  test('no secret is anywhere but in Secrets', async () => {
    const settings = { type: 'kubernetes' } as const;
    const token = 'registration-token-c41b';
    const [pod, machine] = [cluster.executor(), cluster.executor({ settings })];
    const orders = [orderFor(token), orderFor(token)] as const;
    const workers = [await pod.start(orders[0], never), await machine.start(orders[1], never)];
    for (const order of orders) await cluster.podOf(order);
    await cluster.set(orders[0], { kind: 'oom-killed' });
    const ended = await vi.waitFor(async () => {
      const status = await pod.status(workers[0]?.worker ?? '');
      expect(status.kind).toBe('gone');
      return status;
    }, patient);
    const everything: unknown[] = [ended, cluster.plane.audit(), cluster.troubles];
    for (const path of [
      `/apis/batch/v1/namespaces/${namespace}/jobs`,
      `/api/v1/namespaces/${namespace}/pods`,
      `/api/v1/namespaces/${namespace}/events`,
    ])
      everything.push(await cluster.plane.admin.list(path));
    const secrets = await cluster.secrets();
    everything.push(secrets.map(({ metadata }) => metadata));
    const written = JSON.stringify(everything, (_, value) =>
      value instanceof Error ? { ...value, message: value.message, stack: value.stack } : value,
    );
    expect(written.length).toBeGreaterThan(10_000);
    for (const secret of [token, cluster.token, 'proxy-password-9f2c']) expect(written).not.toContain(secret);
    expect(JSON.stringify(secrets)).toContain(Buffer.from(token).toString('base64'));
    await pod.stop(workers[0]?.worker ?? '', never);
    await machine.stop(workers[1]?.worker ?? '', never);
    await Promise.all([pod.close(), machine.close()]);
  });

  test('a build takes six calls, one whose worker died', async () => {
    const executor = cluster.executor();
    const order = orderFor('run');
    const gone = untilGone(executor, order.attemptId);
    const { worker } = await executor.start(order, never);
    const { metadata } = await cluster.podOf(order);
    await cluster.set(order, { kind: 'failed', exitCode: 1 });
    await gone;
    await executor.stop(worker, never);
    const calls = cluster.plane
      .audit()
      .filter(
        ({ user, name = '', uri }) =>
          user === account && (name.startsWith(worker) || uri.includes(metadata.uid ?? '-')),
      );
    expect(
      calls.map(({ verb, resource, subresource }) => [verb, resource, subresource].join(' ').trim()).sort(),
    ).toEqual(['create jobs', 'create secrets', 'delete jobs', 'get pods log', 'list events', 'patch jobs']);
    await executor.close();
  });
});

describe.skipIf('missing' in findBinaries())('a node that is lost', () => {
  test('takes its worker with it, and that is said', { timeout: 300_000 }, async () => {
    await using cluster = await Cluster.start({ nodeLostAfter: 8 });
    const executor = cluster.executor();
    const order = orderFor('run');
    const { worker } = await executor.start(order, never);
    await vi.waitFor(async () => expect(await executor.status(worker)).toEqual({ kind: 'running' }), patient);
    const { FakeKubelet } = await import('./fake-kubelet.ts');
    // With every node silent nothing is evicted.
    await using _other = await FakeKubelet.join(cluster.plane, { name: 'node-2' });
    const gone = untilGone(executor, order.attemptId);
    cluster.kubelet.freeze();
    expect(await gone).toMatchObject({ reason: expect.stringMatching(/node .* was lost \(node node-1/) });
    cluster.kubelet.thaw();
    await executor.stop(worker, never);
    await cluster.nothingLeft(executor);
  });
});

type Deed = (order: ReturnType<typeof orderFor>, worker: string) => Promise<unknown>;

interface Ended {
  readonly kind: 'gone';
  readonly reason: string;
  readonly output?: string;
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

function without(rules: readonly Rule[], verb: string, resource: string, group: string): readonly Rule[] {
  return rules
    .map((rule) =>
      rule.resources.includes(resource) && rule.apiGroups.includes(group)
        ? { ...rule, verbs: rule.verbs.filter((each) => each !== verb) }
        : rule,
    )
    .filter(({ verbs }) => verbs.length > 0);
}
