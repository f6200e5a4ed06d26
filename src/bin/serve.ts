import { type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { formatSpan } from '../cli/format.ts';
import { printLine, type Terminal } from '../cli/terminal.ts';
import { startClusterServer } from './cluster-server.ts';
import type { ProcessEnvironment } from './environment.ts';
import { asOperator } from './operator-error.ts';
import { readConfig } from './read-config.ts';
import { catchSignals } from './signals.ts';

export interface ServeFlags {
  readonly config: string;
  readonly setup: boolean;
}

/** `slipway serve`: one of the servers of a cluster, until a signal; then it drains and hands over. */
export async function serve(
  environment: ProcessEnvironment,
  terminal: Terminal,
  flags: ServeFlags,
): Promise<ExitStatus> {
  const started = performance.now();
  const say = (line = '') => printLine(terminal.stdout, line);
  const config = await asOperator(async () => readConfig(environment, flags.config, say));
  const signals = catchSignals();
  const server = await asOperator(() =>
    startClusterServer(environment, config, { setup: flags.setup, report: say }),
  );
  try {
    say(`Slipway is ready at ${config.site.url} after ${formatSpan(performance.now() - started)}`);
    say(`  manager   ${server.name}`);
    for (const door of server.doors) say(`  listens   ${door}`);
    if (!config.features.build)
      say(
        '  note      builds are switched off (FEATURE_BUILD_SUPPORT: false): new ones are refused, those there are can be read',
      );
    if (config.features.readOnly)
      say(
        '  note      the server is read only (REGISTRY_STATE: readonly): no builds are taken and no images; what is there can be read',
      );
    if (config.database.provider === 'postgres' && config.manager?.orchestrator.provider === 'memory')
      say('  note      without ORCHESTRATOR in Redis, this must be the only server of its database');
    const signal = await signals.first;
    const rest =
      config.manager === undefined
        ? ''
        : ` Running builds get ${formatSpan(config.manager.drain)}; what still runs then is left to another server, or goes back to the queue when there is none.`;
    say(`${signal}: stopping.${rest}`);
  } finally {
    await server.stop();
  }
  say('Stopped.');
  return exitStatus.ok;
}
