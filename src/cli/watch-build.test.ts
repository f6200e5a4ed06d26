import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import type { FakeBuild } from '../../test/fakes/slipway-build.ts';
import type { Phase } from '../model/phase.ts';
import { Client } from './client.ts';
import { watchBuild } from './watch-build.ts';

let api: SlipwayApi;
let client: Client;
let build: FakeBuild;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  client = new Client(api.url, `Bearer ${api.token}`);
  build = api.addBuild();
});
afterEach(async () => await api.stop());

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const complete = { phase: 'complete', digest: 'sha256:abc', image_size: 2048 } as const;
const question = 'Cancel the build?';

describe('watchBuild', () => {
  it.each([
    ['complete', 0],
    ['error', 1],
    ['cancelled', 1],
    ['internalerror', 2],
    ['expired', 2],
  ] as const)('of a build that ends in %s has status %d', async (phase: Phase, status) => {
    build.change({ phase });
    const memory = new MemoryTerminal();
    expect(await watchBuild(memory.terminal, client, build.view, { json: false })).toBe(status);
    expect(memory.listeningForInterrupts).toBe(false);
  });

  it('prints the log, and what to pull', async () => {
    build.append({ message: 'hello' });
    build.change(complete);
    const memory = new MemoryTerminal();
    await watchBuild(memory.terminal, client, build.view, { json: false });
    expect(memory.printed).toMatch(/^hello\n==> Complete\nBuilt ada\/web in \d\.\d s, 2\.0 KiB\n/);
    expect(memory.printed).toContain(
      `  image   ${new URL(api.url).host}/ada/web:latest\n  digest  sha256:abc\n`,
    );
    expect(memory.printed).not.toContain('\u001b');
    expect(memory.complained).toBe('');
  });

  it('says why a build failed, on stderr and made harmless', async () => {
    build.change({ phase: 'error', error_code: 'builderror', error: 'RUN \u001b[2Jfalse failed' });
    const memory = new MemoryTerminal();
    await watchBuild(memory.terminal, client, build.view, { json: false });
    expect(memory.complained).toBe(`Build ${build.id} ended in error [builderror]: RUN false failed\n`);
  });

  it('repeats nothing of the log but what it is about', async () => {
    const error = 'Could not checkout git ref.\nThe repository has no branch "nope".';
    build.append({ message: error, type: 'error' });
    build.change({ phase: 'error', error_code: 'gitcheckout', error });
    const memory = new MemoryTerminal();
    await watchBuild(memory.terminal, client, build.view, { json: false });
    expect((memory.printed + memory.complained).match(/"nope"/g)).toHaveLength(1);
    expect(memory.complained).toBe(
      `Build ${build.id} ended in error [gitcheckout]: Could not checkout git ref.\n`,
    );
  });

  it('says how many builds wait before it, when that changes', async () => {
    build.change({ queue_position: 2 });
    const memory = new MemoryTerminal();
    const watching = watchBuild(memory.terminal, client, build.view, { json: false });
    await until(() => memory.complained !== '');
    build.append({ message: 'x' });
    build.change({ queue_position: 1 });
    await until(() => memory.complained.includes('1 build waits'));
    build.change({ ...complete, queue_position: null });
    await watching;
    expect(memory.complained).toBe('2 builds wait before it\n1 build waits before it\n');
  });

  it('prints JSON lines and nothing else for programs', async () => {
    build.append({ message: 'a\u001b[31m' }, { message: 'b', data: { partial: true } });
    build.change(complete);
    const memory = new MemoryTerminal();
    await watchBuild(memory.terminal, client, build.view, { json: true });
    const lines = memory.printed
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject([
      { log: { message: 'a\u001b[31m' } },
      { log: { message: 'b', data: { partial: true } } },
      { log: { type: 'phase', message: 'complete' } },
      { build: { id: build.id, phase: 'complete', digest: 'sha256:abc' } },
    ]);
    expect(memory.complained).toBe('');
  });

  it('ends with the error of a server that refuses', async () => {
    api.answerNext({ status: 403, body: '{"detail":"no"}' });
    const memory = new MemoryTerminal();
    await expect(watchBuild(memory.terminal, client, build.view, { json: false })).rejects.toMatchObject({
      code: 'refused',
    });
    expect(memory.listeningForInterrupts).toBe(false);
  });
});

describe('Ctrl-C', () => {
  function watch(interactive: boolean, json = false) {
    const memory = new MemoryTerminal({ interactive });
    return { memory, status: watchBuild(memory.terminal, client, build.view, { json }) };
  }
  const cancels = () => api.requests.filter((request) => request.startsWith('DELETE'));

  it('asks; yes cancels the build, shows its end and exits with 130', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    memory.typed.write('y\r');
    expect(await status).toBe(130);
    expect(cancels()).toHaveLength(1);
    expect(memory.printed).toContain('==> Cancelled');
    expect(memory.complained).toContain(`Build ${build.id} ended in cancelled`);
  });

  it('asks; no goes on, and a later Ctrl-C asks again', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    for (const asked of [1, 2]) {
      memory.interrupt();
      await until(() => memory.complained.split(question).length === asked + 1);
      memory.typed.write('n\r');
      // Printed once the question is answered.
      build.append({ message: `after ${asked}` });
      await until(() => memory.printed.includes(`after ${asked}`));
    }
    build.change(complete);
    expect(await status).toBe(0);
    expect(cancels()).toHaveLength(0);
  });

  it('prints nothing over the question', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    build.append({ message: 'before' });
    await until(() => memory.printed.includes('before'));
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    build.append({ message: 'meanwhile' });
    await client.get('/api/v1/user/');
    expect(memory.printed).not.toContain('meanwhile');
    memory.typed.write('\r');
    await until(() => memory.printed.includes('meanwhile'));
    build.change(complete);
    expect(await status).toBe(0);
  });

  it.each([
    ['as a key, while the question is open', (memory: MemoryTerminal) => memory.typed.write('\u0003')],
    ['as a signal, while the question is open', (memory: MemoryTerminal) => memory.interrupt()],
  ])('a second one %s leaves the build running and exits with 130', async (_name, again) => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    again(memory);
    expect(await status).toBe(130);
    expect(cancels()).toHaveLength(0);
    expect(memory.complained).toContain(`The build goes on. Follow it with: slipway logs -f ${build.id}`);
    await until(() => build.followers === 0);
  });

  it('after yes does not wait for the end of the build', async () => {
    api.onCancel = (cancelled) => cancelled.change({ cancelling: true });
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    memory.typed.write('yes\r');
    await until(() => cancels().length === 1);
    memory.interrupt();
    expect(await status).toBe(130);
    expect(memory.complained).toContain('The build is being cancelled');
  });

  it('a refused cancel is told, and following goes on', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    api.answerNext({ status: 403, body: '{"detail":"This needs admin permission."}' });
    memory.typed.write('y\r');
    await until(() => memory.complained.includes('This needs admin permission.'));
    build.change({ phase: 'error' });
    expect(await status).toBe(1);
  });

  it('is forgotten when the build ends while the question is open', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    build.append({ message: 'the last line' });
    build.change(complete);
    expect(await status).toBe(0);
    expect(memory.printed).toMatch(/the last line\n==> Complete.*\nBuilt ada\/web/);
  });

  it('end of input means no', async () => {
    const { memory, status } = watch(true);
    await until(() => build.followers === 1);
    memory.interrupt();
    await until(() => memory.complained.includes(question));
    memory.typed.write('\u0004');
    build.change(complete);
    expect(await status).toBe(0);
  });

  it.each([false, true])('asks nothing in a pipe: the build goes on, status 130 (json: %s)', async (json) => {
    const { memory, status } = watch(false, json);
    await until(() => build.followers === 1);
    memory.interrupt();
    expect(await status).toBe(130);
    expect(memory.complained).not.toContain(question);
    expect(memory.complained).toContain(`slipway cancel ${build.id}`);
    expect(cancels()).toHaveLength(0);
    for (const line of memory.printed.split('\n').filter((text) => text !== '')) JSON.parse(line);
  });
});
