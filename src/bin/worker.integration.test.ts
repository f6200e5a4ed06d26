import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManagerServer } from '../../test/fakes/manager-server.ts';
import type { MemoryAttempt } from '../../test/fakes/memory-sessions.ts';

let manager: ManagerServer;
let packages: Server;
let folder: string;
let dockerfile: string;

beforeEach(async () => {
  manager = await ManagerServer.start();
  folder = await mkdtemp(join(tmpdir(), 'worker-test-'));
  packages = createServer((_request, response) =>
    response.setHeader('content-type', 'text/plain').end(dockerfile),
  );
  packages.listen(0, '127.0.0.1');
  await once(packages, 'listening');
});

afterEach(async () => {
  packages.close();
  await manager.stop(0);
  await rm(folder, { recursive: true });
});

function attempt(line: string): MemoryAttempt {
  dockerfile = `FROM scratch\n${line}\n`;
  const bound = packages.address();
  const port = typeof bound === 'object' ? bound?.port : undefined;
  return manager.sessions.add({
    source: { kind: 'package', url: `http://127.0.0.1:${port}/`, ours: true },
    push: false,
  });
}

async function start(added: MemoryAttempt, env: Record<string, string> = {}) {
  const token = await manager.registrationToken(added.identity);
  const child = spawn(process.execPath, [join(import.meta.dirname, 'worker.ts')], {
    env: {
      PATH: process.env.PATH ?? '',
      HOME: folder,
      SERVER: manager.address,
      TOKEN: token,
      INSECURE: 'true',
      BUILD_ENGINE: 'dummy',
      SLIPWAY_WORKSPACE: join(folder, 'workspace'),
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const exit = once(child, 'close').then(([code, signal]) => ({ code, signal, output, token }));
  return { child, exit };
}

test.each([
  ['#dummy print hello', 0],
  ['#dummy exit 3', 1],
  ['#dummy fail enginefailed of its own', 2],
])('%s ends with status %i and leaves the workspace empty', async (line, status) => {
  const { exit } = await start(attempt(line));
  const { code, output, token } = await exit;
  expect([code, output]).toEqual([status, expect.stringContaining('registered for build')]);
  expect(await readdir(join(folder, 'workspace'))).toEqual([]);
  expect(output).not.toContain(token);
});

test('SIGTERM ends it with 143, and cleans up', async () => {
  const added = attempt('#dummy hang');
  const { child, exit } = await start(added);
  await manager.sessions.until(() => added.reports.length === 3);
  child.kill('SIGTERM');
  expect((await exit).code).toBe(143);
  expect(await readdir(join(folder, 'workspace'))).toEqual([]);
});

test('a cancel ends it with 130', async () => {
  const added = attempt('#dummy hang');
  const { exit } = await start(added);
  await manager.sessions.until(() => added.reports.length === 3);
  manager.sessions.cancel(added);
  expect((await exit).code).toBe(130);
});

test('a token that is refused ends it with 5', async () => {
  const { exit } = await start(attempt(''), { TOKEN: 'x.y.z' });
  expect(await exit).toMatchObject({ code: 5, output: expect.stringContaining('Invalid build token') });
});

test('with DEBUG the workspace is left', async () => {
  const { exit } = await start(attempt('#dummy print x'), { DEBUG: 'true' });
  expect((await exit).code).toBe(0);
  expect(await readFile(join(folder, 'workspace/source/Dockerfile'), 'utf8')).toContain('#dummy print x');
});

test('a wrong environment ends it with 3, and names each variable', async () => {
  const { exit } = await start(attempt(''), { SERVER: 'nowhere', TOKEN: '', BUILD_ENGINE: 'spade' });
  const { code, output } = await exit;
  expect(code).toBe(3);
  for (const name of ['SERVER', 'TOKEN', 'BUILD_ENGINE']) expect(output).toContain(name);
});

test('an engine that this worker does not have is reported', async () => {
  const added = attempt('');
  const { exit } = await start(added, { BUILD_ENGINE: 'docker' });
  expect((await exit).code).toBe(2);
  expect(added.reports.at(-1)).toMatchObject({ kind: 'error', fault: { code: 'enginemissing' } });
});
