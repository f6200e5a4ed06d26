import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface NamespaceLimitsFlags extends ServerFlags {
  readonly weight?: number;
  /** Undefined: stays as it is. */
  readonly maxRunning?: number | 'none';
}

interface NamespaceLimits {
  readonly weight: number;
  readonly max_running: number | null;
}

/** Shows how much a namespace gets of what all share; sets what was given. */
export async function limitsNamespace(
  terminal: Terminal,
  namespace: string,
  { weight, maxRunning, ...flags }: NamespaceLimitsFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const path = `/api/v1/superuser/namespaces/${encodeURIComponent(namespace)}/limits`;
  const limits =
    weight === undefined && maxRunning === undefined
      ? await client.get<NamespaceLimits>(path)
      : await client.put<NamespaceLimits>(path, {
          ...(weight === undefined ? {} : { weight }),
          ...(maxRunning === undefined ? {} : { max_running: maxRunning === 'none' ? null : maxRunning }),
        });
  printLine(
    terminal.stdout,
    flags.json
      ? JSON.stringify(limits)
      : `${namespace}: weight ${limits.weight}, ${limits.max_running ?? 'any number of'} ${limits.max_running === 1 ? 'build' : 'builds'} at once`,
  );
  return exitStatus.ok;
}
