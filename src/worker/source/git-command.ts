import { spawn } from 'node:child_process';
import { redactUrlsIn } from '../../model/redact-url.ts';
import { cancelledError, fromFileSystem, SourceError, systemCode } from './source-error.ts';

/** What every git command of one checkout has in common. */
export interface GitSession {
  /** All of it: nothing of the worker's own environment reaches git. */
  readonly environment: Readonly<Record<string, string>>;
  /** Fires when the whole time is over or the build is cancelled. */
  readonly signal: AbortSignal;
  /** Milliseconds that git may be silent. */
  readonly idleTimeout: number;
  /** Largest file that git may write, in bytes. */
  readonly maxFileBytes: number;
  /** git's own words, a line at a time, redacted. */
  readonly onLine: (line: string) => void;
}

/** How a git command failed; `lines` are its last words, redacted, of which the message has the very last. */
export class GitFailure extends Error {
  readonly lines: readonly string[];

  constructor(why: string, lines: readonly string[]) {
    super([why, ...lines.slice(-shownLines)].join('\n'));
    this.name = 'GitFailure';
    this.lines = lines;
  }
}

const shownLines = 12;
/** Enough for all that ssh says when a host key has changed. */
const keptLines = 40;
const longestLine = 1000;
const mostOutput = 4 << 20;
/** File sizes are limited by the shell, as node cannot; 512 is the shell's unit. */
const shell = 'umask 022; ulimit -f "$1" 2>/dev/null; shift; exec "$@"';

export interface RunOptions {
  /** Gets standard output piece by piece; without it all of it is the result. */
  readonly onOutput?: (chunk: Buffer) => void;
  /** What the command reads; nothing unless given. */
  readonly input?: Buffer;
}

/** Runs git; see `runTool`. */
export async function runGit(
  session: GitSession,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Buffer> {
  return await runTool(session, ['git', ...args], options);
}

/**
 * Runs a command and gives its standard output. Throws GitFailure, or SourceError `cancelled`, `diskfull`,
 * `internalerror`. When it returns, the command and all it started have ended.
 */
export async function runTool(
  session: GitSession,
  command: readonly [string, ...string[]],
  { onOutput, input }: RunOptions = {},
): Promise<Buffer> {
  const [tool] = command;
  if (session.signal.aborted) throw stopReason(session.signal);
  const blocks = String(Math.ceil(session.maxFileBytes / 512));
  const child = spawn('/bin/sh', ['-c', shell, 'sh', blocks, ...command], {
    env: session.environment,
    stdio: ['pipe', 'pipe', 'pipe'],
    // A process group of its own, so that its helpers end with it.
    detached: true,
  });
  const kill = () => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (systemCode(error) !== 'ESRCH') throw error;
    }
  };
  let stopped: unknown;
  const stop = (reason: unknown) => {
    stopped ??= reason;
    kill();
  };
  const onAbort = () => stop(stopReason(session.signal));
  const idle = setTimeout(
    () =>
      stop(new GitFailure(`${tool} was silent for ${Math.round(session.idleTimeout / 1000)} s.`, words.last)),
    session.idleTimeout,
  );
  const words = new LastWords(session.onLine);
  const output: Buffer[] = [];
  let size = 0;
  session.signal.addEventListener('abort', onAbort, { once: true });
  try {
    // It may end without having read all.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    child.stderr.on('data', (chunk: Buffer) => {
      idle.refresh();
      words.write(chunk);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      idle.refresh();
      size += chunk.length;
      try {
        if (onOutput !== undefined) onOutput(chunk);
        else if (size > mostOutput) throw new GitFailure(`${tool} said more than can be.`, []);
        else output.push(chunk);
      } catch (error) {
        stop(error);
      }
    });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.on('error', (error) => reject(fromFileSystem(error, `start ${tool}`)));
      child.on('close', resolve);
    });
    words.end();
    if (stopped !== undefined) throw stopped;
    if (status !== 0) throw failure(tool, status, words.last);
    return Buffer.concat(output);
  } finally {
    clearTimeout(idle);
    session.signal.removeEventListener('abort', onAbort);
    kill();
  }
}

function failure(tool: string, status: number | null, lines: readonly string[]): Error {
  const text = lines.join('\n');
  if (/No space left on device|Disk quota exceeded/i.test(text)) {
    return new SourceError(
      'diskfull',
      'The worker could not store the git repository: no room is left on its disk. Free some and build again.',
    );
  }
  if (status === 127)
    return new SourceError('internalerror', `The worker has no ${tool}. Install it where the worker runs.`);
  return new GitFailure(
    status === null ? `${tool} was ended by a signal.` : `${tool} ended with status ${status}.`,
    lines,
  );
}

/** The signal's reason is a SourceError when a time limit fired it, and anything when the caller did. */
function stopReason(signal: AbortSignal): unknown {
  return signal.reason instanceof GitFailure ? signal.reason : cancelledError(signal.reason);
}

/** Keeps the last lines, without progress (which git ends with a carriage return). */
class LastWords {
  readonly last: string[] = [];
  readonly #onLine: (line: string) => void;
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: Buffer): void {
    const parts = (this.#rest + chunk.toString('latin1')).split('\n');
    this.#rest = (parts.pop() ?? '').slice(-longestLine);
    for (const part of parts) this.#line(part);
  }

  end(): void {
    this.#line(this.#rest);
    this.#rest = '';
  }

  #line(raw: string): void {
    const shown = raw.slice(raw.lastIndexOf('\r', raw.length - 2) + 1);
    const line = redactUrlsIn(
      Buffer.from(shown, 'latin1')
        .toString()
        .replace(/[\0-\x08\x0b-\x1f\x7f]/g, '')
        .trimEnd()
        .slice(0, longestLine),
    );
    if (line === '') return;
    this.#onLine(line);
    this.last.push(line);
    if (this.last.length > keptLines) this.last.shift();
  }
}
