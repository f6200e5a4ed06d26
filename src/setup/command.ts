import { execFile } from 'node:child_process';

/** How a command ended. `output` is what it said on both streams, at most 1 MiB. */
export interface CommandResult {
  readonly ok: boolean;
  readonly output: string;
}

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined;
  /** Added to a fixed small environment; the caller's own is not inherited. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Where system programs are; an ordinary user's PATH lacks the sbin folders. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Runs a system program to its end. Rejects only when the signal fires. */
export function runCommand(
  command: string,
  args: readonly string[],
  { signal, environment = {} }: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        encoding: 'utf8',
        maxBuffer: 1024 ** 2,
        signal,
        env: { PATH: systemPath, LC_ALL: 'C.UTF-8', HOME: '/', ...environment },
      },
      (error, stdout, stderr) => {
        if (signal?.aborted) {
          reject(signal.reason);
          return;
        }
        const said = `${stdout}${stderr}`.trim();
        resolve({ ok: error === null, output: said === '' && error !== null ? error.message : said });
      },
    );
  });
}
