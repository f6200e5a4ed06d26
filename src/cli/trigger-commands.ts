import { type Command, Option } from 'commander';
import type { ServerFlags } from './command.ts';
import type { Report } from './report.ts';
import type { Terminal } from './terminal.ts';
import type { TriggerCreateFlags } from './trigger-create.ts';
import type { TriggerDeliveriesFlags } from './trigger-deliveries.ts';
import type { TriggerRunFlags } from './trigger-run.ts';
import type { TriggerShowFlags } from './trigger-show.ts';
import { wholeNumber } from './whole-number.ts';

const repository = '<namespace/name>';
const trigger = ['[trigger]', 'id, or its first characters (default: the only one there is)'] as const;

function gather(value: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), value];
}

/** The commands about build triggers. Each file is loaded only when its command runs. */
export function addTriggerCommands(program: Command, terminal: Terminal, report: Report): void {
  const group = program
    .command('trigger')
    .description('Manage build triggers: what turns pushes into builds');
  addCreate(group, terminal, report);

  withServer(
    group.command('list').description('List the build triggers of a repository').argument(repository),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./trigger-list.ts')).triggerList(terminal, name, flags)),
  );

  withServer(
    group
      .command('show')
      .description('Show one build trigger')
      .argument(repository)
      .argument(...trigger)
      .option('--credentials', 'with public key and webhook URL, which is a secret'),
  ).action(async (name: string, id: string | undefined, flags: TriggerShowFlags) =>
    report(await (await import('./trigger-show.ts')).triggerShow(terminal, name, id, flags)),
  );

  withServer(
    group
      .command('run')
      .summary('Build a branch, tag or commit now')
      .description('Builds a branch, tag or commit now, whatever is skipped otherwise, and follows the log.')
      .argument(repository)
      .argument(...trigger)
      .option('--branch <name>', 'a branch')
      .option('--tag <name>', 'a tag of the git repository')
      .option('--commit <sha>', 'a commit; for custom-git any ref')
      .option('-d, --detach', 'print the build id and do not wait'),
  ).action(async (name: string, id: string | undefined, flags: TriggerRunFlags) =>
    report(await (await import('./trigger-run.ts')).triggerRun(terminal, name, id, flags)),
  );

  for (const [word, summary] of [
    ['enable', 'Switch a build trigger on, also one that failures switched off'],
    ['disable', 'Switch a build trigger off: its pushes are refused'],
  ] as const)
    withServer(
      group
        .command(word)
        .description(summary)
        .argument(repository)
        .argument(...trigger),
    ).action(async (name: string, id: string | undefined, flags: ServerFlags) =>
      report(
        await (await import('./trigger-switch.ts')).triggerSwitch(
          terminal,
          name,
          id,
          word === 'enable',
          flags,
        ),
      ),
    );

  withServer(
    group
      .command('delete')
      .description('Delete a build trigger, and its webhook and key at the host')
      .argument(repository)
      .argument('<trigger>', trigger[1]),
  ).action(async (name: string, id: string, flags: ServerFlags) =>
    report(await (await import('./trigger-delete.ts')).triggerDelete(terminal, name, id, flags)),
  );

  withServer(
    group
      .command('deliveries')
      .description('List what came to a build trigger, and what became of it')
      .argument(repository)
      .argument(...trigger)
      .option('-n, --limit <number>', 'how many, at most 1000', wholeNumber(1, 1000), 20),
  ).action(async (name: string, id: string | undefined, flags: TriggerDeliveriesFlags) =>
    report(await (await import('./trigger-deliveries.ts')).triggerDeliveries(terminal, name, id, flags)),
  );

  withServer(
    group
      .command('redeliver')
      .description('Take a delivery again, as if it had come now')
      .argument(repository)
      .argument('<trigger>', trigger[1])
      .argument('<delivery>', 'id, or its first characters'),
  ).action(async (name: string, id: string, delivery: string, flags: ServerFlags) =>
    report(
      await (await import('./trigger-deliveries.ts')).triggerRedeliver(terminal, name, id, delivery, flags),
    ),
  );

  withServer(
    group
      .command('analyze')
      .description('Look whether what a build trigger names can be built')
      .argument(repository)
      .argument(...trigger),
  ).action(async (name: string, id: string | undefined, flags: ServerFlags) =>
    report(await (await import('./trigger-analyze.ts')).triggerAnalyze(terminal, name, id, flags)),
  );
}

function addCreate(group: Command, terminal: Terminal, report: Report): void {
  withServer(
    group
      .command('create')
      .summary('Make a build trigger and activate it')
      .description(
        'Makes a build trigger and activates it. For custom-git it prints a public key and a webhook URL, for you ' +
          'to install; at github, gitlab and bitbucket both are installed with your access token.',
      )
      .argument(repository)
      .addOption(
        new Option('--service <service>', 'where the source is')
          .choices(['custom-git', 'github', 'gitlab', 'bitbucket'])
          .default('custom-git'),
      )
      .option('--git-url <url>', 'git repository of a custom-git trigger')
      .option('--source <owner/name>', 'repository at github, gitlab or bitbucket')
      .option('--token-file <file>', 'file with an access token of your account there')
      .option('--dockerfile <path>', 'path of the Dockerfile in the source (default: /Dockerfile)')
      .option('--context <path>', 'folder of the source that COPY sees (default: /)')
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is how templates look
      .option('--tag-template <template>', 'such as ${commit_info.short_sha}; may be repeated', gather)
      .option('--no-tag-from-ref', 'do not tag with the name of branch or tag')
      .option('--no-latest', 'do not tag what the default branch gives as latest')
      .option('--semver-tags', 'a tag v1.2.3 gives 1.2.3, 1.2 and 1 as well')
      .option('--branch-regex <regex>', 'build only what matches all of heads/NAME or tags/NAME')
      .option('--path-filter <glob>', 'build only pushes that change such a path; may be repeated', gather)
      .option('--cron <entry>', '"MIN HOUR DAY MONTH WEEKDAY BRANCH" in UTC; may be repeated', gather)
      .addOption(
        new Option('--pull-requests <which>', 'build pull requests, without publishing').choices([
          'none',
          'same-repository',
          'all',
        ]),
      )
      .option('--newest-only', 'a newer push cancels builds of the same ref that still wait')
      .option('--build-arg <name=value>', 'build argument; may be repeated', gather)
      .option('--platform <os/arch>', 'platform to build for (default: that of the server)', gather)
      .option('--lfs', 'fetch what Git LFS keeps')
      .option('--pull-robot <namespace+name>', 'robot that builds pull base images as'),
  ).action(async (name: string, flags: TriggerCreateFlags) =>
    report(await (await import('./trigger-create.ts')).triggerCreate(terminal, name, flags)),
  );
}

/** Every command that talks to a server has these two. */
function withServer(command: Command): Command {
  return command
    .addOption(new Option('--json', 'print JSON for programs'))
    .addOption(new Option('--server <url>', 'the Slipway server (default: the one you logged in to last)'));
}
