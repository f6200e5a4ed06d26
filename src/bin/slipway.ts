import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { CodedError, messageOf } from '../base/coded-error.ts';
import { CliError, exitStatus, exitStatusOf } from '../cli/cli-error.ts';
import { addAdminCommands, addClientCommands, reportInOneLine } from '../cli/program.ts';
import { paint, printLine } from '../cli/terminal.ts';
import { wholeNumber } from '../cli/whole-number.ts';
import { ContextError } from '../context/context-error.ts';
import { SetupError } from '../setup/setup-error.ts';
import type { ConfigCheckFlags } from './config-check.ts';
import type { CreateUserFlags } from './create-user.ts';
import type { DemoFlags } from './demo.ts';
import type { DoctorFlags } from './doctor.ts';
import { readEnvironment, readTerminal } from './environment.ts';
import type { RotateKeyFlags } from './rotate-key.ts';
import type { ServeFlags } from './serve.ts';
import type { UpFlags } from './up.ts';

const environment = readEnvironment();
const terminal = readTerminal();

const program = new Command('slipway')
  .description('Builds container images on your own machines.')
  .version(
    (JSON.parse(readFileSync(`${environment.installation}/package.json`, 'utf8')) as { version: string })
      .version,
    '-v, --version',
  )
  .showSuggestionAfterError()
  .exitOverride();

program
  .command('up')
  .summary('Run a server on this machine, with everything it needs')
  .description(
    'Runs the server: REST, gRPC and registry on one port, SQLite, local workers. Stops cleanly on Ctrl-C or SIGTERM.',
  )
  .option('--data <dir>', 'data folder', `${environment.dataHome}/slipway`)
  .option('--port <number>', 'port for everything; 0 chooses a free one', wholeNumber(0, 65535), 8080)
  .option('--host <address>', 'address to listen on; 0.0.0.0 lets other machines in', '127.0.0.1')
  .option('--hostname <host[:port]>', 'name under which clients reach this server, when it is not host:port')
  .option(
    '--workers <number>',
    'builds that run at once (default: half of the processors, at least 2)',
    wholeNumber(1, 1000),
  )
  .option(
    '--drain <seconds>',
    'how long running builds may go on when the server is stopped',
    wholeNumber(0, 86400),
    30,
  )
  .option(
    '--upload-limit <bytes>',
    'largest source that may be uploaded',
    wholeNumber(1, Number.MAX_SAFE_INTEGER),
    1024 ** 3,
  )
  .option(
    '--log-limit <bytes>',
    'largest log of a build; the middle of a longer one is left out (default: 100 MiB)',
    wholeNumber(65536, Number.MAX_SAFE_INTEGER),
  )
  .option(
    '--max-queued <number>',
    'builds of one namespace that may wait; more are refused (default: no limit)',
    wholeNumber(1, Number.MAX_SAFE_INTEGER),
  )
  .option(
    '--retry-delay <seconds>',
    'wait before a failed attempt is tried again (default: 30)',
    wholeNumber(0, 86400),
  )
  .option(
    '--allow-private <hosts>',
    'private hosts or CIDR blocks, joined by commas, that URLs given by users may lead to (git also by http)',
  )
  .option(
    '--tls-cert <file>',
    'certificate (PEM, with its chain): everything is TLS; read again when it changes',
  )
  .option('--tls-key <file>', 'its private key (PEM)')
  .option('--no-setup', 'do not install packages or make accounts; say what is missing and stop')
  .action(async (flags: UpFlags) => finish(await (await import('./up.ts')).up(environment, terminal, flags)));

program
  .command('serve')
  .summary('Run one of the servers of a cluster, as a configuration file says')
  .description(
    'Runs a server with PostgreSQL (or SQLite), Redis, shared storage and the executors of the configuration. Any number of\n' +
      'equal ones may share one database. Stops on Ctrl-C or SIGTERM, and leaves running builds to the others.',
  )
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .option('--setup', 'as root: install missing packages and make the account of local workers', false)
  .action(async (flags: ServeFlags) =>
    finish(await (await import('./serve.ts')).serve(environment, terminal, flags)),
  );

program
  .command('config')
  .summary('Work on configuration files')
  .description('Commands about configuration files of `serve`.')
  .command('check')
  .summary('Say everything that is wrong with a configuration file')
  .description(
    'Checks a configuration file, and what the environment puts over it, and lists every fault with its line.\n' +
      'Starts nothing and reaches for nothing. Status: 0 in order, 1 faulty, 2 the file cannot be read.',
  )
  .argument('<file>', 'configuration file (YAML)')
  .option('--json', 'print JSON')
  .action(async (file: string, flags: ConfigCheckFlags) =>
    finish((await import('./config-check.ts')).configCheck(environment, terminal, file, flags)),
  );

program
  .command('doctor')
  .summary('Say what this machine, or a configuration, lacks, and how to mend it')
  .description(
    'Looks at what builds need on this machine: programs, the account builds run as, user namespaces, devices, storage, disk,\n' +
      'data folder, port, clock; with --config at what `serve` needs: database, Redis, storage and executors too. Changes\n' +
      'nothing, and prints the exact command for what is missing. Run it as the account the server runs as. Status 1:\n' +
      'something that is needed is missing.',
  )
  .option('--config <file>', 'configuration file (YAML) of `serve`')
  .option('--data <dir>', `data folder of \`up\` (default: ${environment.dataHome}/slipway)`)
  .option('--port <number>', 'port that the server is to have', wholeNumber(1, 65535), 8080)
  .option('--host <address>', 'address that it is to listen on', '127.0.0.1')
  .option('--server <url>', 'server to compare the clock with (default: the one you logged in to last)')
  .option('--json', 'print JSON for programs')
  .action(async (flags: DoctorFlags) =>
    finish(await (await import('./doctor.ts')).doctor(environment, terminal, flags)),
  );

const admin = program
  .command('admin')
  .summary('Administer a server, or the database of a configuration')
  .description('Commands for administrators.');

admin
  .command('create-user')
  .summary('Make an account; the first one is a superuser')
  .description(
    'Makes an account in the database of a configuration, without a server. The first one is a superuser. Prints a\n' +
      'password unless one is given.',
  )
  .argument('<username>', 'name of the user and of the namespace it gets')
  .requiredOption('--config <file>', 'configuration file (YAML)')
  .option('--email <address>', 'e-mail address')
  .option('--superuser', 'may do everything')
  .option('--password-stdin', 'read the password from standard input')
  .action(async (username: string, flags: CreateUserFlags) =>
    finish(await (await import('./create-user.ts')).createUser(environment, terminal, username, flags)),
  );

admin
  .command('rotate-key')
  .summary('Seal the secrets in the database with another key')
  .description(
    'Seals with the current key what is sealed with a former one. With --config and DATABASE_SECRET_KEY: set the new key, move\n' +
      'the one before to SLIPWAY.FORMER_DATABASE_SECRET_KEYS, restart all servers, then run this; they may run meanwhile. Else\n' +
      'the server must be stopped: a new key file is made. Safe to end and to repeat. Status 1: something is left.',
  )
  .option('--config <file>', 'configuration file (YAML) of `serve`')
  .option('--data <dir>', `data folder of \`up\` (default: ${environment.dataHome}/slipway)`)
  .option('--dry-run', 'only count')
  .action(async (flags: RotateKeyFlags) =>
    finish(await (await import('./rotate-key.ts')).rotateKey(environment, terminal, flags)),
  );

program
  .command('worker')
  .summary('Carry out one attempt of a build; executors start it')
  .description(
    'Registers with a build manager, builds, pushes, and ends. It takes everything from its environment, which\n' +
      'docs/worker-protocol.md describes, and the token from standard input when TOKEN is not set.',
  )
  .action(async () => {
    // What it says is for whoever looks; it goes on when nobody does.
    process.stderr.removeAllListeners('error');
    // It ends the process itself.
    await import('./worker.ts');
  });

program
  .command('demo')
  .summary('See it work: from nothing to an image in a registry')
  .description(
    'Sets this machine up, starts a server with a data folder of its own, builds examples/hello and pulls the image back.',
  )
  .option(
    '--exit',
    'stop the server afterwards; status 0 only if the registry serves the digest that was reported',
  )
  .option('--data <dir>', 'data folder', `${environment.dataHome}/slipway-demo`)
  .option('--port <number>', 'port (default: 8080, or a free one when that is taken)', wholeNumber(0, 65535))
  .action(async (flags: DemoFlags) =>
    finish(await (await import('./demo.ts')).demo(environment, terminal, flags)),
  );

addClientCommands(program, terminal, finish);
addAdminCommands(admin, terminal, finish);
reportInOneLine(program);

/** Ends the process once what was written has left it: a pipe may be slower than we are. */
function finish(status: number): void {
  process.exitCode = status;
  const waiting = [process.stdout, process.stderr].map(
    (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
  );
  void Promise.all(waiting).then(() => process.exit(status));
}

/** A reader that went away (`slipway logs | head`) is no error. */
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? exitStatus.ok : exitStatus.internal);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) finish(error.exitCode === 0 ? exitStatus.ok : exitStatus.userError);
  else {
    printLine(process.stderr, `${paint(terminal, 'red', 'slipway:')} ${messageOf(error)}`);
    if (error instanceof CliError) finish(exitStatusOf(error));
    else if (error instanceof SetupError || error instanceof ContextError) finish(exitStatus.userError);
    else {
      if (error instanceof Error && error.stack && !(error instanceof CodedError))
        printLine(process.stderr, error.stack);
      finish(exitStatus.internal);
    }
  }
}
