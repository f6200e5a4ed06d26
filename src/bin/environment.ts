import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Terminal } from '../cli/terminal.ts';

/** What the program takes from the process it runs in; read here and nowhere else. */
export interface ProcessEnvironment {
  readonly root: boolean;
  readonly home: string;
  /** The folder Slipway is installed in. */
  readonly installation: string;
  readonly path: string;
  readonly dataHome: string;
  /** Proxy settings, which workers are given too. */
  readonly proxies: Readonly<Record<string, string>>;
  /** What an operator sets for the local workers: BUILD_ENGINE, BUILDAH_ISOLATION. */
  readonly worker: Readonly<Record<string, string>>;
  /** All of it, for what a configuration file may leave to the environment. */
  readonly variables: Readonly<Record<string, string | undefined>>;
}

function pick(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = process.env[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
}

export function readEnvironment(): ProcessEnvironment {
  const home = process.env.HOME ?? homedir();
  const root = process.getuid?.() === 0;
  return {
    root,
    home,
    installation: resolve(import.meta.dirname, '../..'),
    path: process.env.PATH ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    proxies: pick(['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy']),
    worker: pick(['BUILD_ENGINE', 'BUILDAH_ISOLATION']),
    variables: process.env,
    dataHome: process.env.XDG_DATA_HOME ?? (root ? '/var/lib' : join(home, '.local/share')),
  };
}

export function readTerminal(): Terminal {
  const home = process.env.HOME ?? homedir();
  const interactive = process.stdout.isTTY === true && process.stderr.isTTY === true;
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    interactive,
    colour: interactive && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb',
    columns: () => process.stdout.columns ?? 80,
    cwd: process.cwd(),
    profileFile:
      process.env.SLIPWAY_PROFILE ??
      join(process.env.XDG_CONFIG_HOME ?? join(home, '.config'), 'slipway/profile.json'),
    server: process.env.SLIPWAY_SERVER,
    token: process.env.SLIPWAY_TOKEN,
    onInterrupt: (listener) => {
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
  };
}
