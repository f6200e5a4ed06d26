import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { systemClock } from '../../src/base/clock.ts';
import { messageOf } from '../../src/base/coded-error.ts';
import type { WorkerOrder } from '../../src/executor/executor.ts';
import { ManagerLink } from '../../src/rpc/manager-link.ts';
import { LogPipe } from '../../src/worker/log/log-pipe.ts';
import { type FromHost, type HostOptions, type ToHost, usageNow, type WorkerScript } from './messages.ts';

/**
 * Workers as functions of one process, each with its own connection, its own token and the product's own link and log
 * pipe; what they do not do is build. Orders come over a socket, one line of JSON each, and are answered when they end.
 */
const { socket: path, script } = JSON.parse(process.argv[2] ?? '') as HostOptions;

const say = (message: FromHost): void => void process.send?.(message);
const running = new Map<string, AbortController>();
const failed: string[] = [];
const release = new AbortController();
let building = 0;
let lines = 0;

async function work(order: WorkerOrder, what: WorkerScript, signal: AbortSignal): Promise<void> {
  const link = new ManagerLink({
    server: order.server,
    clock: systemClock,
    log: () => {},
    ...(what.kind === 'chatter' ? { heartbeatEvery: 5_000 } : {}),
  });
  const close = (): void => void link.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    await link.connect();
    await link.register(order.token, {
      version: 'bench',
      logBatches: true,
      pushesByDigest: true,
      engine: 'dummy',
      platform: 'linux/amd64',
    });
    const pipe = new LogPipe({ sink: link.log, secrets: [], clock: systemClock });
    for (const stage of ['unpacking', 'pulling', 'building', 'pushing'] as const) {
      await link.log.barrier(() => link.setPhase({ kind: 'stage', stage }));
      if (stage === 'building' && what.kind === 'chatter') await chatter(pipe, signal);
      else for (let n = 0; n < 5; n += 1) await write(pipe, `${stage} ${n}`);
      pipe.flush();
    }
    await pipe.close();
    await link.log.barrier(() => link.setPhase({ kind: 'complete' }));
  } finally {
    signal.removeEventListener('abort', close);
    await link.close();
  }
}

async function write(pipe: LogPipe, text: string): Promise<void> {
  lines += 1;
  await pipe.write(Buffer.from(`${Date.now()} ${text} of a build that says what a build says\n`));
}

async function chatter(pipe: LogPipe, signal: AbortSignal): Promise<void> {
  building += 1;
  // Not all of them in the same tenth of a second.
  await systemClock.sleep(Math.random() * 100);
  for (let n = 0; !release.signal.aborted && !signal.aborted; n += 1) {
    await write(pipe, `line ${n}`);
    await systemClock.sleep(100, release.signal).catch(() => {});
  }
  building -= 1;
}

function serve(socket: Socket): void {
  socket.on('error', () => {});
  createInterface({ input: socket }).on('line', (line) => {
    const { order, stop } = JSON.parse(line) as { order?: WorkerOrder; stop?: string };
    if (stop !== undefined) running.get(stop)?.abort();
    if (order === undefined) return;
    const end = new AbortController();
    running.set(order.attemptId, end);
    work(order, script, end.signal)
      .then(
        () => 0,
        (thrown: unknown) => {
          if (failed.length < 5) failed.push(messageOf(thrown));
          return 1;
        },
      )
      .then((exitCode) => {
        running.delete(order.attemptId);
        socket.write(`${JSON.stringify({ attemptId: order.attemptId, exitCode })}\n`);
      });
  });
}

const server = createServer(serve);
server.listen(path, () => say({ kind: 'ready' }));
process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToHost) => {
  switch (message.kind) {
    case 'usage':
      say({ kind: 'usage', usage: usageNow(), building, lines, failed });
      return;
    case 'release':
      release.abort();
      return;
    case 'stop':
      for (const end of running.values()) end.abort();
      server.close();
      process.disconnect();
  }
});
