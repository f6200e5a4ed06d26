import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { addAccountCommands } from './account-commands.ts';
import type { PruneFlags } from './admin-prune.ts';
import type { AuditFlags } from './audit.ts';
import type { BuildFlags } from './build.ts';
import type { BuildsFlags } from './builds.ts';
import { exitStatus } from './cli-error.ts';
import type { ServerFlags } from './command.ts';
import { addExecutorCommands } from './executor-commands.ts';
import type { NamespaceLimitsFlags } from './limits-namespace.ts';
import type { RepositoryLimitsFlags } from './limits-repo.ts';
import type { LoginFlags } from './login.ts';
import type { LogsFlags } from './logs.ts';
import { addRegistryCommands } from './registry-commands.ts';
import type { RepoCreateFlags } from './repo-create.ts';
import type { RepoTargetFlags } from './repo-target.ts';
import type { Report } from './report.ts';
import { type Shell, shells } from './shells.ts';
import type { Terminal } from './terminal.ts';
import { addTriggerCommands } from './trigger-commands.ts';
import { wholeNumber } from './whole-number.ts';

/** How many builds may run at once; `none` takes the limit away. */
function numberOrNone(text: string): number | 'none' {
  return text === 'none' ? 'none' : wholeNumber(1, 1_000_000)(text);
}

/** A share; the bounds are those of the REST interface. */
function share(text: string): number {
  const value = Number(text);
  if (!/^\d+(?:\.\d+)?$/.test(text) || value < 0.001 || value > 1000)
    throw new InvalidArgumentError('It must be a number from 0.001 to 1000.');
  return value;
}

function gather(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** The commands that talk to a server. Each file is loaded only when its command runs, so that starting stays fast. */
export function addClientCommands(program: Command, terminal: Terminal, report: Report): void {
  const server = () =>
    new Option('--server <url>', 'the Slipway server (default: the one you logged in to last)');
  const json = () => new Option('--json', 'print JSON for programs');

  program
    .command('login')
    .summary('Log in to a server and keep a token for it')
    .description('Log in to a server. The token it gives is kept in the profile, the password is not.')
    .addOption(server())
    .option('-u, --username <name>', 'user name')
    .option('--password-stdin', 'read the password from standard input')
    .option('--superuser', 'a token that may also administer the server, for those who may')
    .action(async (flags: LoginFlags) => report(await (await import('./login.ts')).login(terminal, flags)));

  program
    .command('build')
    .summary('Build an image from a folder, a git repository or an archive')
    .description(
      'Packs PATH (honouring .dockerignore), uploads it, builds it, follows the log and prints the digest.\n' +
        'Exit status: 0 complete, 1 the build or the arguments are at fault, 2 Slipway or its infrastructure is, 130 Ctrl-C.',
    )
    .argument('[path]', 'folder with the build context', '.')
    .option(
      '-r, --repo <namespace/name>',
      'repository to push to (default: your name and the name of the folder)',
    )
    .option('-t, --tag <tag>', 'tag to publish; may be repeated (default: latest)', gather)
    .option(
      '-f, --file <path>',
      'the Dockerfile (default: Dockerfile in the context; with --git or --archive-url: its path from the root)',
    )
    .option('--build-arg <name=value>', 'build argument; may be repeated', gather)
    .option('--secret <id=ID,src=FILE>', 'secret for RUN --mount=type=secret; may be repeated', gather)
    .option('--label <name=value>', 'image label; may be repeated', gather)
    .option('--target <stage>', 'stage to build')
    .option('--platform <os/arch>', 'platform to build for (default: that of the server)', gather)
    .option('--git <url>', 'build from a git repository instead of a folder')
    .option('--ref <ref>', 'branch, tag or commit for --git')
    .option('--git-key <file>', 'private key without passphrase for --git by ssh')
    .option('--git-token-file <file>', 'file with the token for --git by https')
    .option('--git-user <name>', 'user name that goes with the token (default: what is usual at the host)')
    .option('--git-lfs', 'fetch what Git LFS keeps of the repository')
    .option('--archive-url <url>', 'build from an archive that the server downloads')
    .option('--no-cache', 'build every layer anew')
    .option('--no-push', 'build only; publish nothing')
    .option(
      '--newest-only',
      'cancel those that still wait for the same, and were asked for with this as well',
    )
    .option('-d, --detach', 'print the build id and do not wait')
    .addOption(json())
    .addOption(server())
    .action(async (path: string, flags: BuildFlags) =>
      report(await (await import('./build.ts')).build(terminal, path, flags)),
    );

  program
    .command('builds')
    .description('List the builds you may see, newest first')
    .option('-r, --repo <namespace/name>', 'of this repository only')
    .option('-n, --limit <number>', 'how many, at most 100', wholeNumber(1, 100), 20)
    .addOption(json())
    .addOption(server())
    .action(async (flags: BuildsFlags) =>
      report(await (await import('./builds.ts')).builds(terminal, flags)),
    );

  program
    .command('show')
    .description('Show one build')
    .argument('<build>', 'id, or its first characters')
    .addOption(json())
    .addOption(server())
    .action(async (id: string, flags: ServerFlags) =>
      report(await (await import('./show.ts')).show(terminal, id, flags)),
    );

  program
    .command('logs')
    .summary('Print the log of a build')
    .description(
      'Prints the log of a build as far as it goes; -f follows it to its end. Only colours pass to the terminal, and nothing but text into a pipe.',
    )
    .argument('<build>', 'id, or its first characters')
    .option('-f, --follow', 'go on until the build ends')
    .option('--raw', 'the bytes as the build wrote them, control sequences included')
    .addOption(json())
    .addOption(server())
    .action(async (id: string, flags: LogsFlags) =>
      report(await (await import('./logs.ts')).logs(terminal, id, flags)),
    );

  program
    .command('cancel')
    .description('Cancel a build that waits or runs')
    .argument('<build>', 'id, or its first characters')
    .addOption(json())
    .addOption(server())
    .action(async (id: string, flags: ServerFlags) =>
      report(await (await import('./cancel.ts')).cancel(terminal, id, flags)),
    );

  program
    .command('audit')
    .summary('Show who did what, from where, with what result')
    .description(
      'Shows the newest records of the audit log: all of it to superusers, with --namespace what concerns one\n' +
        'namespace to its administrators. Times are moments (2030-01-31T12:00:00Z) or spans before now (24h).',
    )
    .option('--namespace <name>', 'what concerns this namespace')
    .option('--actor <name>', 'what this user, robot or worker did')
    .option('--action <action>', 'such as build.cancel, or build.* for all of builds')
    .option('--target <name>', 'what was done to this repository, build, user or token')
    .addOption(new Option('--result <result>').choices(['done', 'refused', 'failed']))
    .option('--since <time>', 'not before')
    .option('--until <time>', 'before')
    .option('-n, --limit <number>', 'how many, at most 100000', wholeNumber(1, 100_000), 50)
    .addOption(json())
    .addOption(server())
    .action(async (flags: AuditFlags) =>
      report(await (await import('./audit.ts')).audit(terminal, flags, Date.now())),
    );

  const repo = program.command('repo').description('Manage repositories');
  repo
    .command('create')
    .description('Create a repository')
    .argument('<namespace/name>')
    .option('--public', 'anyone may pull')
    .option('--description <text>', 'what it is')
    .addOption(json())
    .addOption(server())
    .action(async (name: string, flags: RepoCreateFlags) =>
      report(await (await import('./repo-create.ts')).repoCreate(terminal, name, flags)),
    );

  addTriggerCommands(program, terminal, report);
  addAccountCommands(program, terminal, report);
  repo
    .command('target')
    .summary('Show or set the registry that a repository publishes to')
    .description(
      'Shows where the images of a repository are published, and sets it. The registry is one of the namespace (see:\n' +
        'slipway registry list); a push to the path is tried out first. Builds that end later are published there.',
    )
    .argument('<namespace/name>')
    .option('--registry <name>', 'publish to this registry of the namespace')
    .option('--path <path>', "path behind the registry's prefix (default: the name of the repository)")
    .option('--embedded', 'publish to the embedded registry again')
    .addOption(json())
    .addOption(server())
    .action(async (name: string, flags: RepoTargetFlags) =>
      report(await (await import('./repo-target.ts')).repoTarget(terminal, name, flags)),
    );

  addRegistryCommands(program, terminal, report);
  addExecutorCommands(program, terminal, report);

  const limits = program.command('limits').description('Show and set how many builds may run at once');
  limits
    .command('namespace')
    .summary('Of a namespace; for superusers')
    .description(
      'Shows how much a namespace gets of what all share, and sets what is given. Builds that waited for a limit start\n' +
        'at once when it is raised. Needs a superuser.',
    )
    .argument('<namespace>')
    .option(
      '--weight <number>',
      'its share of the turns, relative to others: 0.001 to 1000, 1 unless set',
      share,
    )
    .option('--max-running <number>', 'builds at once over all its repositories, or none', numberOrNone)
    .addOption(json())
    .addOption(server())
    .action(async (name: string, flags: NamespaceLimitsFlags) =>
      report(await (await import('./limits-namespace.ts')).limitsNamespace(terminal, name, flags)),
    );
  limits
    .command('repo')
    .summary('Of a repository; for its administrators')
    .description(
      'Shows how many builds of a repository may run at once, and sets it. With more than one, the build that ends last\n' +
        'has the tag, not the one that was asked for last.',
    )
    .argument('<namespace/name>')
    .option('--concurrency <number>', 'builds at once, at most 1000', wholeNumber(1, 1000))
    .addOption(json())
    .addOption(server())
    .action(async (name: string, flags: RepositoryLimitsFlags) =>
      report(await (await import('./limits-repo.ts')).limitsRepo(terminal, name, flags)),
    );

  program
    .command('completion')
    .description('Print a completion script for bash, zsh or fish')
    .addArgument(new Argument('<shell>').choices(shells))
    .action(async (shell: Shell) => {
      terminal.stdout.write((await import('./completion.ts')).completionScript(program, shell));
      report(exitStatus.ok);
    });
}

/** The commands of administrators that talk to a server. */
export function addAdminCommands(admin: Command, terminal: Terminal, report: Report): void {
  admin
    .command('prune')
    .summary('Count or remove builds that ended long ago')
    .description(
      'Says how many builds ended longer ago, with their jobs, logs and uploads; with --confirm removes them.\n' +
        'Unfinished builds and images in the registry stay. Needs a superuser.',
    )
    .requiredOption(
      '--keep-younger-than <span>',
      'how long builds are kept after their end, such as 720h or 30d',
    )
    .option('--confirm', 'remove them')
    .option('--json', 'print JSON for programs')
    .option('--server <url>', 'the Slipway server (default: the one you logged in to last)')
    .action(async (flags: PruneFlags) =>
      report(await (await import('./admin-prune.ts')).adminPrune(terminal, flags)),
    );

  const hosts = admin
    .command('git-hosts')
    .description('The host keys of git servers that builds reached by ssh. Needs a superuser');
  hosts
    .command('list')
    .description('List the servers, with the key each has to show')
    .option('--json', 'print JSON for programs')
    .option('--server <url>', 'the Slipway server (default: the one you logged in to last)')
    .action(async (flags: ServerFlags) =>
      report(await (await import('./git-hosts.ts')).listGitHosts(terminal, flags)),
    );
  hosts
    .command('forget')
    .summary('Forget the key of a server that has a new one')
    .description(
      'The next build that fetches from the server takes the key that it shows then.\n' +
        'Ask who runs the server for its fingerprint first: a key that changed may be somebody in between.',
    )
    .argument('<host>', 'host, or host:port where it is not 22')
    .option('--json', 'print JSON for programs')
    .option('--server <url>', 'the Slipway server (default: the one you logged in to last)')
    .action(async (host: string, flags: ServerFlags) =>
      report(await (await import('./git-hosts.ts')).forgetGitHost(terminal, host, flags)),
    );
}

/** Makes what is wrong with the arguments one line that says where to look. */
export function reportInOneLine(command: Command, path = command.name()): void {
  command.configureOutput({
    outputError: (text, write) => {
      const line = text
        .replace(/^error: /, '')
        .trim()
        .replace(/\s*\n\s*/g, ' ');
      write(`slipway: ${line}${/[.?)]$/.test(line) ? '' : '.'} See: ${path} --help\n`);
    },
  });
  for (const sub of command.commands) reportInOneLine(sub, `${path} ${sub.name()}`);
}
