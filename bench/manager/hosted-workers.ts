import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { DummyWork } from '../../src/executor/dummy-executor.ts';

/** The work of a dummy executor's workers, done by the processes at these sockets in turn. */
export function hostedWorkers(paths: readonly string[]): { readonly work: DummyWork; close(): void } {
  const waiting = new Map<string, (exitCode: number) => void>();
  const sockets = paths.map((path): Socket => {
    const socket = connect(path);
    createInterface({ input: socket }).on('line', (line) => {
      const { attemptId, exitCode } = JSON.parse(line) as { attemptId: string; exitCode: number };
      waiting.get(attemptId)?.(exitCode);
      waiting.delete(attemptId);
    });
    return socket;
  });
  let next = 0;
  return {
    work: (order, signal) =>
      new Promise((resolve) => {
        const socket = sockets[next++ % sockets.length];
        waiting.set(order.attemptId, (exitCode) => resolve({ exitCode }));
        socket?.write(`${JSON.stringify({ order })}\n`);
        signal.addEventListener(
          'abort',
          () => socket?.write(`${JSON.stringify({ stop: order.attemptId })}\n`),
          {
            once: true,
          },
        );
      }),
    close: () => {
      for (const socket of sockets) socket.end();
    },
  };
}
