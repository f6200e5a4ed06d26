import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A real server for tests. Disposing stops it and removes its folder. */
export interface TestService extends AsyncDisposable {
  readonly url: string;
}

/**
 * A folder for one service, named after this process, so that the folders of runs that were killed are known
 * and removed here.
 */
export async function serviceFolder(service: string): Promise<string> {
  const prefix = `slipway-test-${service}-`;
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : Number.NaN;
    if (Number.isInteger(pid) && !isAlive(pid))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  return await mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** A loopback port that was free a moment ago; who uses it must be ready to try another. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  return address.port;
}

/** The account a server that refuses to run as root is given: its own, else nobody. Undefined when we are not root. */
export function unprivileged(preferred: string): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of [preferred, 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }));
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error(`this machine has neither an account ${preferred} nor nobody`);
}

/** The command, to be run as `account`, that gets `signal` when this process dies in any way. */
export function boundCommand(
  account: { uid: number; gid: number } | undefined,
  signal: 'INT' | 'TERM',
  command: readonly string[],
): [string, string[]] {
  const as =
    account === undefined ? [] : [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
  return ['setpriv', [...as, '--pdeathsig', signal, '--', ...command]];
}

/** A running server, its last words kept for the error when it does not come up. */
export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #output = '';

  constructor([command, args]: [string, string[]], cwd: string) {
    this.#child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.#output = (this.#output + bytes.toString()).slice(-8192);
      });
    }
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', resolve);
      this.#child.once('error', (error) => {
        this.#output += error.message;
        resolve(error);
      });
    });
  }

  /** True once `probe` succeeds; false when the server ended first. Throws after `limit` milliseconds. */
  async ready(probe: () => Promise<boolean>, limit = 30_000): Promise<boolean> {
    let over = false;
    void this.#ended.then(() => {
      over = true;
    });
    for (const deadline = Date.now() + limit; Date.now() < deadline; ) {
      if (over) return false;
      if (await probe()) return true;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`${this.#child.spawnfile} did not come up in ${limit / 1000} s: ${this.#output}`);
  }

  get output(): string {
    return this.#output;
  }

  /** Sends a signal and waits for nothing. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill(signal);
    const force = setTimeout(() => this.#child.kill('SIGKILL'), 10_000);
    await this.#ended;
    clearTimeout(force);
  }
}
