import { type Command, Option } from 'commander';
import type { ServerFlags } from './command.ts';
import type { DrainFlags } from './executor.ts';
import type { Report } from './report.ts';
import type { Terminal } from './terminal.ts';

/** The commands about executors: where workers run. */
export function addExecutorCommands(program: Command, terminal: Terminal, report: Report): void {
  const run = async () => await import('./executor.ts');
  const common = (command: Command): Command =>
    command
      .addOption(new Option('--json', 'print JSON for programs'))
      .addOption(new Option('--server <url>', 'the Slipway server (default: the one you logged in to last)'));
  const executor = program
    .command('executor')
    .description('See, switch and try out where workers run; for superusers');
  const one = (name: string) => executor.command(name).argument('<name>', 'NAME in EXECUTORS');

  common(
    executor
      .command('list')
      .summary('List the executors and how they do')
      .description(
        'Lists the executors in the order in which they are asked: what each takes, what runs, whether it is cordoned, or left\n' +
          'alone because it fails, and what it said last. Ends with an alert when builds wait because all fail.',
      ),
  ).action(async (flags: ServerFlags) => report(await (await run()).listExecutors(terminal, flags)));
  common(
    one('cordon')
      .summary('Give an executor no new builds')
      .description('Holds for all servers until it is uncordoned. What runs goes on.'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await run()).cordonExecutor(terminal, name, flags)),
  );
  common(one('uncordon').description('Give an executor builds again')).action(
    async (name: string, flags: ServerFlags) =>
      report(await (await run()).uncordonExecutor(terminal, name, flags)),
  );
  common(
    one('drain')
      .summary('Cordon an executor and wait until no worker is left')
      .description(
        'Cordons it, and waits until its workers are gone. Ctrl-C ends the waiting; it stays cordoned.',
      )
      .option('--no-wait', 'do not wait'),
  ).action(async (name: string, flags: DrainFlags) =>
    report(await (await run()).drainExecutor(terminal, name, flags)),
  );
  common(
    one('test')
      .summary('Start a worker that builds nothing')
      .description(
        'Starts a worker that registers and is stopped again, and prints each step as it happens: reachable, allowed,\n' +
          'started, scheduled, image-pulled, registered, stopped; what an executor cannot tell apart is left out.\n' +
          'Also a cordoned one. Status 2 when a step is not passed.',
      ),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await run()).testExecutor(terminal, name, flags)),
  );
}
