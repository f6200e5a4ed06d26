import { type Clock, systemClock } from '../base/clock.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable, formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { paint, printLine, type Terminal } from './terminal.ts';

export interface DrainFlags extends ServerFlags {
  readonly wait: boolean;
}

/** As the REST interface gives it; only what is shown. */
interface ExecutorView {
  readonly name: string;
  readonly type: string;
  readonly state: string;
  readonly cordoned_by: string | null;
  readonly running: number;
  readonly max_workers: number | null;
  readonly rules: {
    readonly minimum_retry_threshold: number;
    readonly namespace_whitelist: readonly string[] | null;
    readonly staged_rollout: number | null;
    readonly platforms: readonly string[] | null;
  };
  readonly breaker: { readonly state: string; readonly until: string | null };
  readonly last_failures: readonly { readonly time: string; readonly message: string }[];
}

interface Executors {
  readonly executors: readonly ExecutorView[];
  readonly alerts: readonly {
    readonly since: string;
    readonly message: string;
    readonly executors: readonly string[];
    readonly manager: string;
  }[];
}

interface Step {
  readonly step: string;
  readonly passed: boolean;
  readonly seconds: number | null;
  readonly message: string | null;
}

const path = '/api/v1/superuser/executors';
const pathOf = (name: string, verb: string) => `${path}/${encodeURIComponent(name)}/${verb}`;
/** Milliseconds between two looks at a draining executor. */
const look = 2_000;

/** All executors, how they do, and whether builds wait because all fail. */
export async function listExecutors(terminal: Terminal, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const all = await client.get<Executors>(path);
  const say = (line: string) => printLine(terminal.stdout, line);
  if (flags.json) {
    say(JSON.stringify(all, null, 2));
    return exitStatus.ok;
  }
  const plain = (text: string) => harmless(text, false);
  if (all.executors.length === 0) say('No server that builds is up.');
  else
    for (const line of formatTable([
      ['NAME', 'TYPE', 'STATE', 'RUNNING', 'BREAKER', 'TAKES'],
      ...all.executors.map((each) =>
        [each.name, each.type, stateOf(each), runningOf(each), breakerOf(each), takesOf(each)].map(plain),
      ),
    ]))
      say(line);
  for (const { name, last_failures: failures } of all.executors) {
    const [last] = failures;
    if (last !== undefined) say(`${plain(name)} failed at ${formatWhen(last.time)}: ${plain(last.message)}`);
  }
  for (const { since, message, executors, manager } of all.alerts) {
    const where = `No worker can be started on ${executors.join(', ')} since ${formatWhen(since)}, and builds wait`;
    say(paint(terminal, 'red', plain(`${where} (says ${manager}): ${message}`)));
  }
  return exitStatus.ok;
}

function stateOf({ state, cordoned_by: by }: ExecutorView): string {
  return by === null ? state : `${state} (${by})`;
}

function runningOf({ running, max_workers: most }: ExecutorView): string {
  return most === null ? String(running) : `${running} of ${most}`;
}

function breakerOf({ breaker: { state, until } }: ExecutorView): string {
  return state === 'open' && until !== null ? `open until ${formatWhen(until)}` : state;
}

function takesOf({ rules }: ExecutorView): string {
  const { namespace_whitelist: whitelist, staged_rollout: share, minimum_retry_threshold: tries } = rules;
  const namespaces = [
    ...(whitelist === null ? [] : [whitelist.length === 0 ? 'no namespace' : whitelist.join(',')]),
    ...(share === null ? [] : [`${Math.round(share * 1000) / 10} % of namespaces`]),
  ];
  return [
    namespaces.length === 0 ? 'all' : namespaces.join(' and '),
    ...(rules.platforms === null ? [] : [rules.platforms.join(',')]),
    ...(tries === 0 ? [] : [`with ${tries} tries left`]),
  ].join('; ');
}

export async function cordonExecutor(
  terminal: Terminal,
  name: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  return await change(terminal, name, 'cordon', flags, ({ running }) =>
    running === 0
      ? 'gets no new builds.'
      : `gets no new builds. What runs on it (${running}) goes on to its end.`,
  );
}

export async function uncordonExecutor(
  terminal: Terminal,
  name: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  return await change(terminal, name, 'uncordon', flags, () => 'gets builds again.');
}

async function change(
  terminal: Terminal,
  name: string,
  verb: 'cordon' | 'uncordon',
  flags: ServerFlags,
  said: (executor: ExecutorView) => string,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const executor = await client.post<ExecutorView>(pathOf(name, verb), {});
  printLine(
    terminal.stdout,
    flags.json ? JSON.stringify(executor, null, 2) : `${harmless(executor.name, false)} ${said(executor)}`,
  );
  return exitStatus.ok;
}

/** Cordons it, and waits until its workers are gone. Ctrl-C ends the waiting and leaves it cordoned. */
export async function drainExecutor(
  terminal: Terminal,
  name: string,
  flags: DrainFlags,
  clock: Clock = systemClock,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const stop = new AbortController();
  const deaf = terminal.onInterrupt(() => stop.abort());
  const say = (line: string) => {
    if (!flags.json) printLine(terminal.stdout, line);
  };
  try {
    let executor = await client.post<ExecutorView>(pathOf(name, 'drain'), {});
    say(`${harmless(executor.name, false)} gets no new builds.`);
    for (let told = -1; executor.state === 'draining'; ) {
      if (executor.running !== told) say(`${executor.running} workers run on it.`);
      told = executor.running;
      if (!flags.wait) break;
      await clock.sleep(look, stop.signal).catch(() => {});
      if (stop.signal.aborted) {
        say('Not waited for any longer. It still gets no new builds.');
        return exitStatus.interrupted;
      }
      const { executors } = await client.get<Executors>(path);
      const now = executors.find((each) => each.name === name);
      if (now === undefined)
        throw new CliError('server-failed', `No server that is up has executor ${name} any more`);
      if (now.state !== 'draining' && now.state !== 'drained')
        throw new CliError('refused', `Somebody else made executor ${name} ${now.state} meanwhile`);
      executor = now;
    }
    if (flags.json) printLine(terminal.stdout, JSON.stringify(executor, null, 2));
    else if (executor.state === 'drained') say('No worker runs on it any more.');
    return exitStatus.ok;
  } finally {
    deaf();
  }
}

/** Starts a worker that builds nothing and prints each step as it happens. Status 2 when one is not passed. */
export async function testExecutor(
  terminal: Terminal,
  name: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const stop = new AbortController();
  const deaf = terminal.onInterrupt(() => stop.abort(new Error('interrupted')));
  let passed: boolean | undefined;
  try {
    for await (const { event, data } of client.postEvents(pathOf(name, 'test'), stop.signal)) {
      if (event === 'end') passed = (JSON.parse(data) as { passed: boolean }).passed;
      else if (event === 'step')
        printLine(terminal.stdout, flags.json ? data : stepLine(terminal, JSON.parse(data) as Step));
    }
  } catch (thrown) {
    if (!stop.signal.aborted) throw thrown;
    return exitStatus.interrupted;
  } finally {
    deaf();
  }
  if (passed === undefined)
    throw new CliError(
      'server-failed',
      'The server ended the test before it was over. See its log, and repeat it',
    );
  return passed ? exitStatus.ok : exitStatus.internal;
}

function stepLine(terminal: Terminal, { step, passed, seconds, message }: Step): string {
  const name = harmless(step, false).padEnd(12);
  if (passed) return `${paint(terminal, 'green', 'ok    ')}  ${name}  ${(seconds ?? 0).toFixed(1)} s`;
  return `${paint(terminal, 'red', 'failed')}  ${name}  ${harmless(message ?? '', false)}`;
}
