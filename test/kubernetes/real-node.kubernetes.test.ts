import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { KubernetesObject } from './api-client.ts';
import { findBinaries } from './binaries.ts';
import { busyboxImage, busyboxName } from './busybox-image.ts';
import { ControlPlane } from './control-plane.ts';
import { RealNode } from './real-node.ts';

const wait = { timeout: 90_000, interval: 100 };
const jobs = '/apis/batch/v1/namespaces/default/jobs';
const pods = '/api/v1/namespaces/default/pods';

function job(name: string, script: string, container: object = {}): object {
  const containers = [
    {
      name: 'main',
      image: busyboxName,
      imagePullPolicy: 'Never',
      command: ['/bin/sh', '-c', script],
      ...container,
    },
  ];
  return {
    metadata: { name },
    spec: {
      backoffLimit: 0,
      template: {
        spec: {
          ...{ restartPolicy: 'Never', dnsPolicy: 'Default', automountServiceAccountToken: false },
          ...{ terminationGracePeriodSeconds: 1, containers },
        },
      },
    },
  };
}

describe.skipIf('missing' in findBinaries() || process.getuid?.() !== 0)('a real node', () => {
  let folder: string;
  let plane: ControlPlane;
  let node: RealNode;
  let settings: readonly string[];

  beforeAll(async () => {
    settings = kernelSettings();
    folder = await mkdtemp(join(tmpdir(), 'slipway-busybox-'));
    plane = await ControlPlane.start();
    const pause = await busyboxImage(folder);
    node = await RealNode.join(plane, { pause, labels: { 'slipway.test/real': 'yes' } });
  }, 300_000);

  afterAll(async () => {
    await node?.[Symbol.asyncDispose]();
    await plane?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const ended = async (name: string): Promise<KubernetesObject> =>
    await vi.waitFor(async () => {
      const [pod] = await plane.admin.list(`${pods}?labelSelector=job-name%3D${name}`);
      expect(pod?.status.phase).toMatch(/Succeeded|Failed/);
      return pod as KubernetesObject;
    }, wait);
  const logOf = async ({ metadata }: KubernetesObject) =>
    await plane.admin.text('GET', `${pods}/${metadata.name}/log`);

  test('runs a pod: its log and its exit code are read through the API', async () => {
    await plane.admin.create(jobs, job('failing', 'echo hello; exit 3'));
    const pod = await ended('failing');
    expect(pod.status.phase).toBe('Failed');
    expect(pod.status.containerStatuses[0].state.terminated).toMatchObject({ exitCode: 3, reason: 'Error' });
    expect(await logOf(pod)).toBe('hello\n');
    await vi.waitFor(
      async () => expect((await plane.admin.get(`${jobs}/failing`)).status.failed).toBe(1),
      wait,
    );
  });

  test('a pod reaches a loopback port of this machine that was exposed', async () => {
    const server = createServer((_, response) => response.end('from the machine')).listen(0, '127.0.0.1');
    try {
      await vi.waitFor(() => expect(server.listening).toBe(true), wait);
      const address = await node.expose((server.address() as AddressInfo).port);
      await plane.admin.create(jobs, job('asking', `busybox wget -q -O - http://${address}/`));
      expect(await logOf(await ended('asking'))).toBe('from the machine');
    } finally {
      server.close();
    }
  });

  test('a container that takes too much memory is killed for it', async () => {
    const resources = { limits: { memory: '32Mi' } };
    const script = 'x=x; while true; do x=$x$x$x$x; done';
    await plane.admin.create(jobs, job('hungry', script, { resources }));
    const pod = await ended('hungry');
    expect(pod.status.containerStatuses[0].state.terminated).toMatchObject({
      ...{ exitCode: 137, reason: 'OOMKilled' },
    });
  });

  test('an image that nobody has is a pod that waits and says so', async () => {
    await plane.admin.create(jobs, job('unpulled', 'true', { image: 'localhost/none:1' }));
    await vi.waitFor(async () => {
      const [pod] = await plane.admin.list(`${pods}?labelSelector=job-name%3Dunpulled`);
      expect(pod?.status.containerStatuses?.[0].state.waiting.reason).toBe('ErrImageNeverPull');
    }, wait);
    await plane.admin.delete(`${jobs}/unpulled`, { propagationPolicy: 'Background' });
  });

  test('a deleted Job ends the processes of its pod', async () => {
    const mark = '73519';
    const running = () => processes().filter((line) => line.endsWith(`sleep\0${mark}\0`)).length;
    await plane.admin.create(jobs, job('long', `exec busybox sleep ${mark}`));
    await vi.waitFor(() => expect(running()).toBe(1), wait);
    await plane.admin.delete(`${jobs}/long`, { propagationPolicy: 'Foreground' });
    await vi.waitFor(async () => {
      expect(running()).toBe(0);
      expect(await plane.admin.find(`${jobs}/long`)).toBeUndefined();
    }, wait);
  });

  test('leaves no process, device, mount, control group or setting behind', async () => {
    await plane.admin.create(jobs, job('left', 'exec busybox sleep 73520'));
    const running = () => processes().filter((line) => line.endsWith('sleep\x0073520\0')).length;
    await vi.waitFor(() => expect(running()).toBe(1), wait);
    const mark = `slipway-test-node-${process.pid}-`;
    const groups = () =>
      readdirSync('/sys/fs/cgroup', { recursive: true, encoding: 'utf8' }).filter((path) =>
        /(slipway-test-node-[^/]*|k8s\.io)$/.test(path),
      );
    expect(groups()).not.toEqual([]);
    await node[Symbol.asyncDispose]();
    await vi.waitFor(() => expect(running()).toBe(0), wait);
    expect(processes().filter((line) => line.includes(mark))).toEqual([]);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(mark);
    expect(readdirSync('/sys/class/net')).not.toContain(`slk${process.pid}`);
    expect(existsSync(`/run/netns/slipway-test-${process.pid}`)).toBe(false);
    expect(groups()).toEqual([]);
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith(mark))).toEqual([]);
    expect(kernelSettings()).toEqual(settings);
  });
});

/** What a kubelet and network plugins would like to change. */
function kernelSettings(): readonly string[] {
  return ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'net/ipv4/ip_forward'].map(
    (name) => `${name} ${readFileSync(`/proc/sys/${name}`, 'utf8').trim()}`,
  );
}

/** Command lines. */
function processes(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((id) => {
      try {
        return [readFileSync(`/proc/${id}/cmdline`, 'utf8')];
      } catch {
        return [];
      }
    });
}
