import { parsePairs, readSecretText } from './build-request.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import type { Client } from './client.ts';
import { connect, type ServerFlags } from './command.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';
import { type TriggerView, triggerPath, triggersPath } from './trigger.ts';

export interface TriggerCreateFlags extends ServerFlags {
  readonly service: string;
  readonly gitUrl?: string;
  readonly source?: string;
  readonly tokenFile?: string;
  readonly dockerfile?: string;
  readonly context?: string;
  readonly tagTemplate?: readonly string[];
  /** `--no-tag-from-ref`, `--no-latest` */
  readonly tagFromRef: boolean;
  readonly latest: boolean;
  readonly semverTags?: boolean;
  readonly branchRegex?: string;
  readonly pathFilter?: readonly string[];
  readonly cron?: readonly string[];
  readonly pullRequests?: string;
  readonly newestOnly?: boolean;
  readonly buildArg?: readonly string[];
  readonly platform?: readonly string[];
  readonly lfs?: boolean;
  readonly pullRobot?: string;
}

interface Analysis {
  readonly status: string;
  readonly message: string | null;
}

/** Creates a trigger, looks whether its source can be built, activates it, and says what is left to do by hand. */
export async function triggerCreate(
  terminal: Terminal,
  repository: string,
  flags: TriggerCreateFlags,
): Promise<ExitStatus> {
  const path = triggersPath(repository);
  const custom = flags.service === 'custom-git';
  checkFlags(flags, custom);
  const wanted = {
    config: configOf(flags),
    ...(flags.pullRobot === undefined ? {} : { pull_robot: flags.pullRobot }),
  };
  const token =
    flags.tokenFile === undefined
      ? undefined
      : (await readSecretText(terminal.cwd, 'token', flags.tokenFile)).trim();
  const { client } = await connect(terminal, flags);
  const created = await client.post<TriggerView>(`${path}/`, {
    service: flags.service,
    ...(token === undefined ? {} : { token }),
  });
  const activated = await activate(terminal, client, repository, created, wanted);
  if (flags.json) printLine(terminal.stdout, JSON.stringify(activated, null, 2));
  else printSetUp(terminal, repository, activated, custom);
  return exitStatus.ok;
}

/** A trigger that cannot be activated is taken away again: nobody would find out what it is there for. */
async function activate(
  terminal: Terminal,
  client: Client,
  repository: string,
  created: TriggerView,
  wanted: Readonly<Record<string, unknown>>,
): Promise<TriggerView> {
  const path = triggerPath(repository, created);
  try {
    const { status, message } = await client.post<Analysis>(`${path}/analyze`, wanted);
    const robotGiven = wanted.pull_robot !== undefined;
    if (status === 'error') throw new CliError('refused', harmless(message ?? 'It cannot be built.', false));
    if (status === 'warning' || (status === 'requiresrobot' && !robotGiven))
      printLine(terminal.stderr, `slipway: ${harmless(message ?? status, false)}`);
    const activated = await client.post<TriggerView>(`${path}/activate`, wanted);
    for (const fault of activated.faults ?? [])
      printLine(terminal.stderr, `slipway: passed over: ${harmless(fault, false)}`);
    return activated;
  } catch (thrown) {
    await client.delete(path).catch(() => {});
    throw thrown;
  }
}

function checkFlags(flags: TriggerCreateFlags, custom: boolean): void {
  if (custom && flags.gitUrl === undefined)
    throw new CliError(
      'usage',
      'A custom-git trigger needs --git-url, such as git@git.example.com:team/web.git',
    );
  if (custom && (flags.source !== undefined || flags.tokenFile !== undefined))
    throw new CliError('usage', '--source and --token-file are for github, gitlab and bitbucket');
  if (!custom && flags.gitUrl !== undefined)
    throw new CliError(
      'usage',
      `--git-url is for custom-git; a trigger of ${flags.service} takes --source owner/name`,
    );
  if (!custom && (flags.source === undefined || flags.tokenFile === undefined))
    throw new CliError(
      'usage',
      `A trigger of ${flags.service} needs --source owner/name, and --token-file with an access token that you made there`,
    );
}

function configOf(flags: TriggerCreateFlags): Record<string, unknown> {
  const given: Record<string, unknown> = {
    build_source: flags.gitUrl ?? flags.source,
    dockerfile_path: flags.dockerfile === undefined ? undefined : fromRoot(flags.dockerfile),
    context: flags.context === undefined ? undefined : fromRoot(flags.context),
    tag_templates: flags.tagTemplate,
    default_tag_from_ref: flags.tagFromRef,
    latest_for_default_branch: flags.latest,
    semver_tags: flags.semverTags,
    branchtag_regex: flags.branchRegex,
    path_filters: flags.pathFilter,
    cron: flags.cron?.map(parseCron),
    pull_requests: flags.pullRequests,
    newest_only: flags.newestOnly,
    build_args: flags.buildArg === undefined ? undefined : parsePairs('--build-arg', flags.buildArg),
    platforms: flags.platform,
    lfs: flags.lfs,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** `MIN HOUR DAY MONTH WEEKDAY [BRANCH]` */
function parseCron(text: string): { schedule: string; branch?: string } {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== 5 && fields.length !== 6)
    throw new CliError(
      'usage',
      `--cron "${text}": give five fields and a branch, such as "30 3 * * 1 main" (minute, hour, day, month, weekday; UTC)`,
    );
  const [branch] = fields.slice(5);
  return { schedule: fields.slice(0, 5).join(' '), ...(branch === undefined ? {} : { branch }) };
}

function fromRoot(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}

function printSetUp(terminal: Terminal, repository: string, trigger: TriggerView, custom: boolean): void {
  const say = (line = '') => printLine(terminal.stdout, line);
  say(`Created the build trigger ${trigger.id} of ${repository}`);
  if (!custom) {
    say(
      `Webhook and deploy key are installed at ${trigger.repository_url ?? trigger.service}: the next push is built.`,
    );
    return;
  }
  const value = (name: string) =>
    trigger.config.credentials?.find((credential) => credential.name === name)?.value ?? '';
  say();
  say('1. Let this key read the git repository (a deploy key, or a line of authorized_keys):');
  say();
  say(`   ${value('SSH Public Key')}`);
  say();
  say(
    '2. Have every push told to this URL, which is a secret. A post-receive hook for that is in docs/triggers.md:',
  );
  say();
  say(`   ${value('Webhook Endpoint URL')}`);
  say();
  say(`Then push, or build now: slipway trigger run ${repository} ${trigger.id.slice(0, 8)} --branch main`);
}
