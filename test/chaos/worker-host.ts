import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { HostOrder } from './faulty-executor.ts';
import { type HostConfig, HostedWorkers } from './hosted-workers.ts';
import type { ProcessReady } from './manager-config.ts';

/**
 * A machine of the fault runner that workers run on: a process of its own, so that workers live and die without their
 * managers. It is asked over HTTP: POST /start, POST /stop/ATTEMPT, GET /status/ATTEMPT, GET /workers.
 */
async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return JSON.parse(Buffer.concat(pieces).toString() || '{}');
}

async function answer(workers: HostedWorkers, request: IncomingMessage): Promise<unknown> {
  const [, action, attemptId = ''] = (request.url ?? '').split('/');
  switch (`${request.method} ${action}`) {
    case 'POST start':
      workers.start((await bodyOf(request)) as HostOrder);
      return {};
    case 'POST stop':
      await workers.stop(attemptId);
      return {};
    case 'GET status':
      return workers.status(attemptId);
    case 'GET workers':
      return workers.running();
    default:
      throw new Error(`unknown request ${request.method} ${request.url}`);
  }
}

const [, , file = ''] = process.argv;
const config = JSON.parse(await readFile(file, 'utf8')) as HostConfig;
const workers = new HostedWorkers(config);
const server = createServer((request, response) => {
  answer(workers, request).then(
    (value) => response.setHeader('content-type', 'application/json').end(JSON.stringify(value)),
    (thrown: unknown) => response.writeHead(500).end(String(thrown)),
  );
});
server.listen(config.port, '127.0.0.1', () => process.send?.({ ready: true } satisfies ProcessReady));
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  workers.stopAll().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
