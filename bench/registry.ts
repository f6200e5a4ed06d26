/**
 * How fast blobs go through the registry gateway, next to the registry process alone: `node bench/registry.ts`.
 * Prints MB/s for uploads and downloads of one blob (default 1 GiB; `node bench/registry.ts <MiB>`), and the time
 * to start. A third line shows the gateway in front of a sink that does nothing, which is the gateway's own limit.
 */

import { fork } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { systemClock } from '../src/base/clock.ts';
import type { Digest } from '../src/model/digest.ts';
import { OciClient } from '../src/registry/oci-client.ts';
import { RegistryProxy } from '../src/registry/registry-proxy.ts';
import { RegistryServer } from '../test/fakes/registry-server.ts';

const mebibyte = 1024 * 1024;
const size = Number(process.argv[2] ?? 1024) * mebibyte;
const block = randomBytes(mebibyte);
const signal = AbortSignal.timeout(600_000);

function* blocks(first: number): Generator<Buffer> {
  const head = Buffer.from(block);
  head.writeDoubleBE(first);
  yield head;
  for (let sent = mebibyte; sent < size; sent += mebibyte) yield block;
}

function digestOfBlob(first: number): Digest {
  const hash = createHash('sha256');
  for (const piece of blocks(first)) hash.update(piece);
  return `sha256:${hash.digest('hex')}` as Digest;
}

async function timed(work: () => Promise<void>): Promise<string> {
  const start = performance.now();
  await work();
  return `${Math.round(size / 1e6 / ((performance.now() - start) / 1000))} MB/s`;
}

async function drain(stream: Readable): Promise<void> {
  stream.on('data', () => {});
  await once(stream, 'end');
}

/** The servers' side, in a process of its own as in production. */
async function serve(): Promise<void> {
  const server = await RegistryServer.start();
  server.authorizer.passwords.set('bench', 'bench');
  for (const n of [0, 1]) server.authorizer.allow('bench', `bench/blob${n}`, ['pull', 'push']);
  const folder = await mkdtemp(path.join(tmpdir(), 'slipway-bench-'));
  const socketPath = path.join(folder, 'sink.sock');
  const sink = createServer((incoming, response) => {
    incoming.resume().once('end', () => response.end());
  }).listen(socketPath);
  const proxy = new RegistryProxy(socketPath);
  const front = createServer((incoming, response) => {
    void proxy.forward(incoming, response, '/');
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  const started = server.events.find((event) => event.kind === 'started');
  const tokens = await Promise.all(
    [0, 1].map((n) =>
      server.tokens.issue({
        subject: 'bench',
        access: [{ repository: `bench/blob${n}`, actions: ['pull', 'push'] }],
        expiresIn: 600,
      }),
    ),
  );
  process.send?.({
    host: server.host,
    socketPath: server.embedded.socketPath,
    tokens,
    front: (front.address() as { port: number }).port,
    start: started?.kind === 'started' ? started.milliseconds : 0,
  });
  await once(process, 'message');
  for (const open of [sink, front]) open.close();
  front.closeAllConnections();
  proxy.close();
  await server.stop();
  await rm(folder, { recursive: true });
  process.disconnect();
}

async function measure(): Promise<void> {
  const child = fork(import.meta.filename, ['serve']);
  const [ready] = (await once(child, 'message')) as [
    { host: string; socketPath: string; tokens: string[]; front: number; start: number },
  ];
  const routes = [
    { name: 'registry alone', endpoint: { kind: 'socket', socketPath: ready.socketPath, name: 'registry' } },
    { name: 'through the gateway', endpoint: { kind: 'network', host: ready.host, security: 'http' } },
  ] as const;
  console.log(`registry started in ${ready.start} ms`);
  for (const [n, { name, endpoint }] of routes.entries()) {
    const client = new OciClient({
      endpoint,
      credentials: { kind: 'bearer', token: async () => ready.tokens[n] ?? '' },
      clock: systemClock,
    });
    const digest = digestOfBlob(n);
    const source = { digest, size, open: () => Readable.from(blocks(n)) };
    const up = await timed(() => client.putBlob(`bench/blob${n}`, source, signal));
    const down = await timed(async () =>
      drain((await client.getBlob(`bench/blob${n}`, digest, signal)).stream),
    );
    console.log(`${name}: upload ${up}, download ${down}`);
    client.close();
  }
  const up = await timed(async () => {
    const outgoing = request({ port: ready.front, host: '127.0.0.1', method: 'PUT', agent: false });
    Readable.from(blocks(2)).pipe(outgoing);
    const [response] = (await once(outgoing, 'response')) as [Readable];
    await drain(response);
  });
  console.log(`gateway before a sink: upload ${up}`);
  child.send('stop');
  await once(child, 'exit');
}

if (process.argv[2] === 'serve') await serve();
else await measure();
