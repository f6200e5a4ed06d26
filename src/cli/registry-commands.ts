import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ExitStatus } from './cli-error.ts';
import type { ServerFlags } from './command.ts';
import type { RegistryFlags } from './registry.ts';
import type { Terminal } from './terminal.ts';

function uses(text: string): readonly ('push' | 'pull')[] {
  const found = text.split(',').map((part) => part.trim());
  const known = found.filter((part) => part === 'push' || part === 'pull');
  if (known.length !== found.length) throw new InvalidArgumentError('It must be push, pull or push,pull.');
  return known;
}

/** The commands about registries outside of Slipway; for administrators of a namespace. */
export function addRegistryCommands(
  program: Command,
  terminal: Terminal,
  report: (status: ExitStatus) => void,
): void {
  const run = async () => await import('./registry.ts');
  const common = (command: Command): Command =>
    command
      .addOption(new Option('--json', 'print JSON for programs'))
      .addOption(new Option('--server <url>', 'the Slipway server (default: the one you logged in to last)'));
  const settings = (command: Command): Command =>
    common(
      command
        .option('--host <host[:port]>', 'where it is, as in image names')
        .option('--prefix <path>', 'what every path there begins with')
        .option('-u, --username <name>', 'user name there')
        .option('--password-stdin', 'read the password or token from standard input')
        .option('--use <what>', 'push, pull or push,pull (a new one: both)', uses)
        .option('--insecure', 'plain HTTP; only for hosts that an administrator allowed')
        .option('--ca <file>', "certificate authorities (PEM) besides the machine's"),
    );

  const registry = program.command('registry').description('Manage registries outside of Slipway');
  settings(
    registry
      .command('create')
      .summary('Add a registry, if it accepts the credentials')
      .description(
        'Adds a registry to a namespace. Its credentials are tried out there first, for push with an upload that is\n' +
          'cancelled; they are kept sealed and never shown again.',
      )
      .argument('<namespace/name>'),
  ).action(async (name: string, flags: RegistryFlags) =>
    report(await (await run()).registryCreate(terminal, name, flags)),
  );
  settings(
    registry
      .command('change')
      .summary('Change what is given, if it accepts the credentials')
      .description(
        'Changes what is given. The password is kept without --password-stdin, which is possible while host, user, TLS\n' +
          'and authorities stay.',
      )
      .argument('<namespace/name>'),
  )
    .option('--no-insecure', 'TLS')
    .action(async (name: string, flags: RegistryFlags) =>
      report(await (await run()).registryChange(terminal, name, flags)),
    );
  common(
    registry.command('list').description('List the registries of a namespace').argument('<namespace>'),
  ).action(async (namespace: string, flags: ServerFlags) =>
    report(await (await run()).registryList(terminal, namespace, flags)),
  );
  common(registry.command('show').description('Show one registry').argument('<namespace/name>')).action(
    async (name: string, flags: ServerFlags) =>
      report(await (await run()).registryShow(terminal, name, flags)),
  );
  common(
    registry
      .command('test')
      .description('Try out the credentials of a registry; exit status 1 when they do not work')
      .argument('<namespace/name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await run()).registryTest(terminal, name, flags)),
  );
  common(
    registry
      .command('delete')
      .description('Forget a registry and its credentials; refused while repositories publish to it')
      .argument('<namespace/name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await run()).registryDelete(terminal, name, flags)),
  );
}
