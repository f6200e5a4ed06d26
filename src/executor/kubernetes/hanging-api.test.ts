import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../base/clock.ts';
import { KubernetesExecutor, type KubernetesExecutorOptions } from './kubernetes-executor.ts';

let server: Server | undefined;
const sockets = new Set<Socket>();

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
});

/** It takes connections, and nothing else happens. */
async function hangingApi(): Promise<string> {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('an API that hangs holds up who asks what runs for a moment, and then not at all', async () => {
  const at = await hangingApi();
  const troubles: string[] = [];
  const executor = new KubernetesExecutor({
    settings: { name: 'far', type: 'kubernetesPodman', namespace: 'builds', setupTime: 60_000 } as never,
    maker: { manager: 'm', version: '1', site: 'builds.example.com' },
    connection: async () => ({ server: at, headers: {}, tls: { rejectUnauthorized: true } }),
    timeout: 3_000,
    userData: () => '',
    clock: systemClock,
    onTrouble: (trouble: { readonly code: string } | undefined) => troubles.push(trouble?.code ?? 'none'),
  } satisfies KubernetesExecutorOptions);
  const took = async () => {
    const begun = performance.now();
    expect(await executor.running()).toEqual([]);
    return performance.now() - begun;
  };
  // Half of a call's time, by which it is known that it does not answer.
  const first = await took();
  expect(first).toBeGreaterThan(1_500);
  expect(first).toBeLessThan(2_900);
  await expect.poll(() => troubles, { timeout: 10_000 }).toEqual(['unavailable']);
  for (let n = 0; n < 3; n += 1) expect(await took()).toBeLessThan(500);
  await executor.close();
});
