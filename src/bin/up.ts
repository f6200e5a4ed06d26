import { join, resolve } from 'node:path';
import { CliError, type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { formatSpan } from '../cli/format.ts';
import { paint, printLine, type Terminal } from '../cli/terminal.ts';
import { type EmbeddedServerOptions, startEmbeddedServer } from './embedded-server.ts';
import type { ProcessEnvironment } from './environment.ts';
import { asOperator } from './operator-error.ts';
import { catchSignals } from './signals.ts';

export interface UpFlags {
  readonly data: string;
  readonly port: number;
  readonly host: string;
  readonly hostname?: string;
  readonly workers?: number;
  readonly drain: number;
  readonly uploadLimit: number;
  readonly logLimit?: number;
  readonly maxQueued?: number;
  readonly retryDelay?: number;
  readonly allowPrivate?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly setup: boolean;
}

/** `slipway up`: serves until a signal, then drains. */
export async function up(
  environment: ProcessEnvironment,
  terminal: Terminal,
  flags: UpFlags,
): Promise<ExitStatus> {
  if ((flags.tlsCert === undefined) !== (flags.tlsKey === undefined))
    throw new CliError('usage', '--tls-cert and --tls-key go together: one is the certificate of the other.');
  const started = performance.now();
  const say = (line = '') => printLine(terminal.stdout, line);
  const signals = catchSignals();
  const options: EmbeddedServerOptions = {
    data: flags.data,
    host: flags.host,
    port: flags.port,
    drain: flags.drain * 1000,
    setup: flags.setup,
    uploadLimit: flags.uploadLimit,
    report: say,
    ...(flags.hostname === undefined ? {} : { hostname: flags.hostname }),
    ...(flags.workers === undefined ? {} : { workers: flags.workers }),
    ...(flags.logLimit === undefined ? {} : { logLimit: flags.logLimit }),
    ...(flags.maxQueued === undefined ? {} : { maxQueued: flags.maxQueued }),
    ...(flags.retryDelay === undefined ? {} : { retryDelay: flags.retryDelay * 1000 }),
    ...(flags.allowPrivate === undefined
      ? {}
      : { allowPrivate: flags.allowPrivate.split(',').map((host) => host.trim()) }),
    ...(flags.tlsCert === undefined || flags.tlsKey === undefined
      ? {}
      : { tls: { certificate: resolve(flags.tlsCert), key: resolve(flags.tlsKey) } }),
  };
  const server = await asOperator(() => startEmbeddedServer(environment, options));
  try {
    await server.writeProfile(terminal.profileFile);
    if (server.adminPassword !== undefined) {
      say();
      say(paint(terminal, 'bold', 'First start: an administrator was made. The password is shown only now.'));
      say(`  user      admin`);
      say(`  password  ${server.adminPassword}`);
      say(`The command line client on this machine is logged in already (${terminal.profileFile}).`);
      say();
    }
    say(`Slipway is ready at ${server.url} after ${formatSpan(performance.now() - started)}`);
    say(`  data      ${resolve(flags.data)}`);
    say(`  registry  ${server.registryHost}/NAMESPACE/NAME:TAG`);
    say(`  API       ${server.url}/api/v1/docs`);
    say(`  build     ${join(environment.installation, 'slipway')} build DIR`);
    const signal = await signals.first;
    say(`${signal}: stopping. Running builds get ${flags.drain} s; a second signal ends at once.`);
  } finally {
    await server.stop();
  }
  say('Stopped.');
  return exitStatus.ok;
}
