import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import type { FakeBuild } from '../../test/fakes/slipway-build.ts';

/** The program as a process of its own: pipes, a real terminal (of `script`), signals. */
const run = promisify(execFile);
const main = resolve(import.meta.dirname, 'slipway.ts');
let api: SlipwayApi;
let build: FakeBuild;
let folder: string;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  build = api.addBuild();
  folder = await mkdtemp(join(tmpdir(), 'slipway-cli-'));
  await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
  env = {
    PATH: process.env.PATH,
    HOME: folder,
    TERM: 'xterm',
    SLIPWAY_SERVER: api.url,
    SLIPWAY_TOKEN: api.token,
  };
});
afterEach(async () => {
  await api.stop();
  await rm(folder, { recursive: true });
});

const slipway = (...words: string[]) => [process.execPath, main, ...words];

async function inPipe(...words: string[]) {
  const [file = '', ...rest] = slipway(...words);
  return await run(file, rest, { env, cwd: folder }).then(
    ({ stdout, stderr }) => ({ stdout, stderr, code: 0 }),
    (failed: { stdout: string; stderr: string; code: number }) => failed,
  );
}

/** A shell command on a terminal: what was shown, and a way to type. */
function onTerminal(command: string, more: NodeJS.ProcessEnv = {}) {
  const child = spawn('/usr/bin/script', ['-qfec', command, '/dev/null'], {
    env: { ...env, ...more },
    cwd: folder,
  });
  onTestFinished(() => {
    child.kill();
  });
  let shown = '';
  let wake = () => {};
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
    wake();
  });
  const ended = once(child, 'close').then(([code]) => code as number);
  return {
    ended,
    type: (text: string) => child.stdin.write(text),
    shown: () => shown,
    until: async (text: string) => {
      while (!shown.includes(text))
        await Promise.race([
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
          ended.then(() => {
            if (!shown.includes(text)) throw new Error(`it ended without ${text}:\n${shown}`);
          }),
        ]);
    },
  };
}

const shell = (words: readonly string[]) => words.map((word) => `'${word}'`).join(' ');

describe('in a pipe', () => {
  it('prints no control sequence, and JSON alone when asked', async () => {
    build.append({ message: 'a \u001b[31mred\u001b[0m line' });
    build.change({ phase: 'complete', digest: 'sha256:abc' });
    const text = await inPipe('logs', '-f', build.id);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^a red line\n==> Complete\nBuilt ada\/web/);
    expect(text.stdout).not.toContain('\u001b');
    const json = await inPipe('builds', '--json');
    expect(JSON.parse(json.stdout)).toHaveLength(1);
    expect(json.stderr).toBe('');
  });

  it.each([
    [['build', '--tag', 'a b'], 1],
    [['build', 'missing'], 1],
    [['nonsense'], 1],
    [['builds', '--server', 'http://127.0.0.1:4'], 2],
    [['--help'], 0],
    [['--version'], 0],
  ])('%j ends with %i', async (words, status) => {
    const { code, stdout, stderr } = await inPipe(...words);
    expect(code).toBe(status);
    if (status === 0) expect(stderr).toBe('');
    else {
      expect(stdout).toBe('');
      expect(stderr).toMatch(/^slipway: [^\n]+\n$/);
    }
  });

  it('does not mind a reader that goes away', async () => {
    const line = 'x'.repeat(1000);
    for (let i = 0; i < 5000; i += 1) build.append({ message: line });
    const command = `${shell(slipway('logs', build.id))} | head -c 10; echo " \${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await run('bash', ['-c', command], { env });
    expect(stdout).toBe('xxxxxxxxxx 0\n');
    expect(stderr).toBe('');
  });

  it('leaves the build running on SIGINT, with status 130', async () => {
    const [file = '', ...rest] = slipway('logs', '-f', build.id);
    const child = spawn(file, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => {
      complaint += chunk.toString();
    });
    const printed = once(child.stdout, 'data');
    build.append({ message: 'it runs' });
    await printed;
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    expect(complaint).toContain(`slipway cancel ${build.id}`);
    expect(api.requests.some((request) => request.startsWith('DELETE'))).toBe(false);
  });
});

describe('on a terminal', () => {
  /** Shows the settings of the terminal before and after; the shell outlives Ctrl-C. */
  const withSettings = (words: readonly string[]) =>
    `trap : INT; stty -a | tr '\\n' ' '; echo; ${shell(words)}; echo "status $?"; stty -a | tr '\\n' ' '; echo`;
  const settings = (shown: string) => shown.split(/\r?\n/).filter((line) => line.includes('speed '));

  it('colours, and not when NO_COLOR is set', async () => {
    build.append({ message: 'a \u001b[31mred\u001b[2J line' });
    build.change({ phase: 'complete' });
    const coloured = onTerminal(shell(slipway('logs', '-f', build.id)));
    expect(await coloured.ended).toBe(0);
    expect(coloured.shown()).toContain('a \u001b[31mred line\u001b[0m');
    expect(coloured.shown()).toContain('\u001b[36m==> Complete');
    const plain = onTerminal(shell(slipway('logs', '-f', build.id)), { NO_COLOR: '1' });
    expect(await plain.ended).toBe(0);
    expect(plain.shown()).not.toContain('\u001b');
  });

  it('Ctrl-C asks; y cancels, exits with 130 and leaves the terminal as it was', async () => {
    api.onBuild = (queued) => queued.change({ phase: 'building' });
    const terminal = onTerminal(withSettings(slipway('build')));
    await terminal.until('==> Building');
    terminal.type('\u0003');
    await terminal.until('Cancel the build?');
    terminal.type('y\r');
    await terminal.ended;
    const shown = terminal.shown();
    expect(shown).toContain('==> Cancelled');
    expect(shown).toContain('status 130');
    expect(api.builds[0]?.view.phase).toBe('cancelled');
    const [before, after] = settings(shown);
    expect(before).toContain('icanon');
    expect(after).toBe(before);
  });

  it('a second Ctrl-C leaves the build running, and the terminal as it was', async () => {
    build.change({ phase: 'building' });
    const terminal = onTerminal(withSettings(slipway('logs', '-f', build.id)));
    await terminal.until('==> Building');
    terminal.type('\u0003');
    await terminal.until('Cancel the build?');
    terminal.type('\u0003');
    await terminal.ended;
    expect(terminal.shown()).toContain('The build goes on.');
    expect(terminal.shown()).toContain('status 130');
    const [before, after] = settings(terminal.shown());
    expect(after).toBe(before);
    expect(build.view.phase).toBe('building');
  });

  it('never shows a password that is typed', async () => {
    const terminal = onTerminal(withSettings(slipway('login')), { SLIPWAY_TOKEN: '' });
    await terminal.until('Username: ');
    terminal.type('ada\r');
    await terminal.until('Password: ');
    terminal.type('pa55 word\r');
    await terminal.until('Logged in to');
    await terminal.ended;
    expect(terminal.shown()).not.toContain('pa55');
    const [before, after] = settings(terminal.shown());
    expect(after).toBe(before);
  });
});
