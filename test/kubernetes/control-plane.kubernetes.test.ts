import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { ApiClient, type KubernetesObject } from './api-client.ts';
import { ApiProxy } from './api-proxy.ts';
import { findBinaries } from './binaries.ts';
import { ControlPlane } from './control-plane.ts';
import { FakeKubelet } from './fake-kubelet.ts';
import type { PodState } from './pod-state.ts';

const wait = { timeout: 60_000, interval: 50 };
const jobs = '/apis/batch/v1/namespaces/builder/jobs';
const pods = '/api/v1/namespaces/builder/pods';

const setUp = `
apiVersion: v1
kind: Namespace
metadata:
  name: builder
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: job-maker
  namespace: builder
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: job-maker
  namespace: builder
rules:
  - apiGroups: [batch]
    resources: [jobs]
    verbs: [create, get, list, watch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: job-maker
  namespace: builder
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: job-maker
subjects:
  - kind: ServiceAccount
    name: job-maker
    namespace: builder
`;

function job(name: string, pod: object = {}): object {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name },
    spec: {
      backoffLimit: 0,
      template: {
        spec: {
          restartPolicy: 'Never',
          containers: [{ name: 'builder', image: 'registry.test/worker:1' }],
          ...pod,
        },
      },
    },
  };
}

describe.skipIf('missing' in findBinaries())('the control plane', () => {
  let plane: ControlPlane;
  let kubelet: FakeKubelet;
  const plans = new Map<string, PodState>();

  beforeAll(async () => {
    plane = await ControlPlane.start();
    kubelet = await FakeKubelet.join(plane, {
      plan: (pod) => plans.get(pod.metadata.labels?.['job-name'] ?? '') ?? { kind: 'running' },
    });
    await plane.admin.apply(setUp);
  }, 300_000);

  afterAll(async () => {
    await kubelet?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
  });

  const podOf = async (name: string): Promise<KubernetesObject | undefined> =>
    (await plane.admin.list(`${pods}?labelSelector=job-name%3D${name}`))[0];
  const reaches = async (name: string, phase: string): Promise<KubernetesObject> =>
    await vi.waitFor(async () => {
      const pod = await podOf(name);
      expect(pod?.status.phase).toBe(phase);
      return pod as KubernetesObject;
    }, wait);
  const conditionsOf = async (name: string): Promise<readonly string[]> => {
    const { status } = await plane.admin.get(`${jobs}/${name}`);
    return ((status.conditions ?? []) as { type: string; status: string }[])
      .filter((condition) => condition.status === 'True')
      .map(({ type }) => type);
  };

  test('an unknown token and nobody are turned away', async () => {
    const stranger = plane.clientOf({ token: 'not-a-token' });
    await expect(stranger.list(jobs)).rejects.toMatchObject({ status: 401 });
    await expect(plane.clientOf().list(jobs)).rejects.toMatchObject({ status: 403 });
  });

  test('a service account may do what its role says, and nothing else', async () => {
    const maker = plane.clientOf({ token: await plane.tokenOf('builder', 'job-maker') });
    await vi.waitFor(async () => expect(await maker.list(jobs)).toEqual([]), wait);
    await expect(maker.list(pods)).rejects.toMatchObject({ status: 403, reason: 'Forbidden' });
    await expect(maker.list('/apis/batch/v1/namespaces/default/jobs')).rejects.toMatchObject({ status: 403 });
    await expect(maker.patch(`${jobs}/any`, { metadata: { labels: { a: 'b' } } })).rejects.toMatchObject({
      status: 403,
    });
  });

  test('its calls are in the audit log, by name and with their results', async () => {
    const user = 'system:serviceaccount:builder:job-maker';
    const maker = plane.clientOf({ token: await plane.tokenOf('builder', 'job-maker') });
    const before = plane.audit().filter((call) => call.user === user).length;
    await maker.create(jobs, job('counted'));
    await expect(maker.list(pods)).rejects.toMatchObject({ status: 403 });
    await maker.delete(`${jobs}/counted`, { propagationPolicy: 'Background' });
    const calls = plane.audit().filter((call) => call.user === user);
    expect(calls.slice(before).map(({ verb, resource, status }) => `${verb} ${resource} ${status}`)).toEqual([
      'create jobs 201',
      'list pods 403',
      'delete jobs 200',
    ]);
  });

  test('a Job becomes a pod on the node, and both go when it is deleted', async () => {
    await plane.admin.create(jobs, job('short'));
    const pod = await reaches('short', 'Running');
    expect(pod.spec.nodeName).toBe(kubelet.node.name);
    await plane.admin.delete(`${jobs}/short`, { propagationPolicy: 'Foreground' });
    await vi.waitFor(async () => {
      expect(await podOf('short')).toBeUndefined();
      expect(await plane.admin.find(`${jobs}/short`)).toBeUndefined();
    }, wait);
    await vi.waitFor(() => {
      expect(kubelet.pods.filter(({ metadata }) => metadata.uid === pod.metadata.uid)).toEqual([]);
    }, wait);
  });

  test('the Job controller counts what becomes of pods', async () => {
    plans.set('fine', { kind: 'succeeded' });
    plans.set('bad', { kind: 'failed', exitCode: 3, message: 'it broke' });
    plans.set('big', { kind: 'oom-killed' });
    plans.set('unwanted', { kind: 'evicted' });
    for (const name of ['fine', 'bad', 'big', 'unwanted']) await plane.admin.create(jobs, job(name));
    await vi.waitFor(async () => {
      expect(await conditionsOf('fine')).toContain('Complete');
      for (const name of ['bad', 'big', 'unwanted']) expect(await conditionsOf(name)).toContain('Failed');
    }, wait);
    expect((await podOf('bad'))?.status.containerStatuses[0].state.terminated).toMatchObject({
      ...{ exitCode: 3, message: 'it broke' },
    });
    expect((await podOf('big'))?.status.containerStatuses[0].state.terminated.reason).toBe('OOMKilled');
    expect((await podOf('unwanted'))?.status.reason).toBe('Evicted');
  });

  test('a pod without its image waits, and goes on when the test says so', async () => {
    plans.set('unpulled', { kind: 'image-pull-back-off' });
    await plane.admin.create(jobs, job('unpulled'));
    const pod = await vi.waitFor(async () => {
      const found = await podOf('unpulled');
      expect(found?.status.containerStatuses?.[0].state.waiting.reason).toBe('ImagePullBackOff');
      return found as KubernetesObject;
    }, wait);
    await kubelet.set(pod.metadata.name, { kind: 'running' });
    await kubelet.set(pod.metadata.name, { kind: 'succeeded' });
    await vi.waitFor(async () => expect(await conditionsOf('unpulled')).toContain('Complete'), wait);
  });

  test('a pod that no node fits is not scheduled, and the scheduler says why', async () => {
    await plane.admin.create(jobs, job('homeless', { nodeSelector: { nowhere: 'true' } }));
    await vi.waitFor(async () => {
      const [condition] = (await podOf('homeless'))?.status.conditions ?? [];
      expect(condition).toMatchObject({ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' });
    }, wait);
    await plane.admin.delete(`${jobs}/homeless`, { propagationPolicy: 'Background' });
  });

  test('a quota refuses the pods beyond it', async () => {
    await plane.admin.apply(`
apiVersion: v1
kind: Namespace
metadata:
  name: small
---
apiVersion: v1
kind: ResourceQuota
metadata:
  name: none
  namespace: small
spec:
  hard:
    count/jobs.batch: "0"
`);
    await vi.waitFor(async () => {
      const { status } = await plane.admin.get('/api/v1/namespaces/small/resourcequotas/none');
      expect(status?.hard).toBeDefined();
    }, wait);
    await expect(
      plane.admin.create('/apis/batch/v1/namespaces/small/jobs', job('one')),
    ).rejects.toMatchObject({ status: 403, message: expect.stringContaining('exceeded quota') });
  });

  test('the environment of a pod has what Secrets say, and its log is read through the API', async () => {
    await plane.admin.create('/api/v1/namespaces/builder/secrets', {
      metadata: { name: 'for-pod' },
      stringData: { token: 'a secret' },
    });
    const env = [
      { name: 'PLAIN', value: 'as it stands' },
      { name: 'TOKEN', valueFrom: { secretKeyRef: { name: 'for-pod', key: 'token' } } },
    ];
    const containers = [{ name: 'builder', image: 'registry.test/worker:1', env }];
    await plane.admin.create(jobs, job('talking', { containers }));
    const { metadata } = await reaches('talking', 'Running');
    expect(await kubelet.environmentOf(metadata.name)).toEqual({
      ...{ PLAIN: 'as it stands', TOKEN: 'a secret' },
    });
    kubelet.node.setLog('builder', metadata.name, 'one\ntwo\nthree\n');
    const path = `${pods}/${metadata.name}/log?tailLines=2`;
    expect(await plane.admin.text('GET', path)).toBe('two\nthree\n');
  });

  test('an answer that is lost leaves one Job', async () => {
    await using proxy = await ApiProxy.open(plane);
    using maker = new ApiClient({
      url: `https://${proxy.host}`,
      authority: plane.authority.pem,
      identity: { token: await plane.tokenOf('builder', 'job-maker') },
    });
    proxy.loseAnswers(({ method, path }) => method === 'POST' && path === jobs);
    await expect(maker.create(jobs, job('lost'))).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(proxy.lost).toHaveLength(1);
    expect((await maker.get(`${jobs}/lost`)).metadata.name).toBe('lost');
    await expect(maker.create(jobs, job('lost'))).rejects.toMatchObject({ reason: 'AlreadyExists' });
  });

  test('a request that is lost leaves none, and one that is refused says so', async () => {
    await using proxy = await ApiProxy.open(plane);
    using maker = new ApiClient({
      url: `https://${proxy.host}`,
      authority: plane.authority.pem,
      identity: { token: await plane.tokenOf('builder', 'job-maker') },
    });
    const creation = ({ method }: { method: string }) => method === 'POST';
    proxy.loseRequests(creation);
    await expect(maker.create(jobs, job('never'))).rejects.toMatchObject({ code: 'ECONNRESET' });
    proxy.refuse(creation, 429, { 'retry-after': '1' });
    await expect(maker.create(jobs, job('never'))).rejects.toMatchObject({ status: 429 });
    expect(await maker.find(`${jobs}/never`)).toBeUndefined();
  });

  test('a watch that is cut ends, and a new one goes on where it ended', async () => {
    await using proxy = await ApiProxy.open(plane);
    using maker = new ApiClient({
      url: `https://${proxy.host}`,
      authority: plane.authority.pem,
      identity: { token: await plane.tokenOf('builder', 'job-maker') },
    });
    const { resourceVersion } = (await maker.get(jobs)).metadata;
    const path = `${jobs}?resourceVersion=${resourceVersion}`;
    const { signal } = new AbortController();
    const first = maker.watch(path, signal);
    const seen = first.next();
    await plane.admin.create(jobs, job('watched'));
    expect((await seen).value?.object.metadata.name).toBe('watched');
    const broken = expect(
      (async () => {
        for await (const _ of first);
      })(),
    ).rejects.toThrow();
    expect(proxy.cutWatches()).toBe(1);
    await broken;
    const again = maker.watch(path, signal);
    expect((await again.next()).value?.object.metadata.name).toBe('watched');
    await again.return(undefined);
  });

  test.for(['SIGTERM', 'SIGKILL'] as const)(
    'an API server that ended by %s comes back with its data',
    async (signal) => {
      const name = `kept-${signal.toLowerCase()}`;
      const { port } = plane;
      await plane.admin.create(jobs, job(name));
      await reaches(name, 'Running');
      await plane.stopApiServer(signal);
      await expect(plane.admin.get('/version')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      await plane.startApiServer();
      expect(plane.port).toBe(port);
      const pod = await reaches(name, 'Running');
      // Controllers, node and kubelet find their way back.
      await kubelet.set(pod.metadata.name, { kind: 'succeeded' });
      await vi.waitFor(async () => expect(await conditionsOf(name)).toContain('Complete'), wait);
    },
  );
});

describe.skipIf('missing' in findBinaries())('a control plane of its own', () => {
  test('loses a node that is frozen, and its pods', { timeout: 300_000 }, async () => {
    await using plane = await ControlPlane.start({ nodeLostAfter: 8 });
    await using kubelet = await FakeKubelet.join(plane);
    await using _other = await FakeKubelet.join(plane, { name: 'node-2' });
    await plane.admin.apply(setUp);
    const nodeSelector = { 'kubernetes.io/hostname': kubelet.node.name };
    await plane.admin.create(jobs, job('orphan', { nodeSelector }));
    await vi.waitFor(() => expect(kubelet.pods).toHaveLength(1), wait);
    kubelet.freeze();
    await vi.waitFor(
      async () => {
        const [pod] = await plane.admin.list(pods);
        const conditions = pod?.status.conditions as { type: string; reason?: string }[];
        expect(conditions.find(({ type }) => type === 'DisruptionTarget')).toBeDefined();
        expect(pod?.metadata.deletionTimestamp).toBeDefined();
      },
      { timeout: 120_000, interval: 200 },
    );
    kubelet.thaw();
    await vi.waitFor(async () => {
      const { status } = await plane.admin.get(`${jobs}/orphan`);
      expect(status.failed).toBe(1);
    }, wait);
  });

  test('leaves no process and no folder behind', { timeout: 300_000 }, async () => {
    const plane = await ControlPlane.start();
    const { folder } = plane;
    expect(processesWith(folder).length).toBe(4);
    await plane[Symbol.asyncDispose]();
    expect(processesWith(folder)).toEqual([]);
    expect(existsSync(folder)).toBe(false);
  });
});

/** Ids of the processes with a path in their command line. */
function processesWith(path: string): string[] {
  return readdirSync('/proc').filter((id) => {
    try {
      return /^\d+$/.test(id) && readFileSync(`/proc/${id}/cmdline`, 'utf8').includes(path);
    } catch {
      return false;
    }
  });
}
