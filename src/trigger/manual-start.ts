import { cutText } from '../base/cut-text.ts';
import type { Build } from '../model/build.ts';
import { QueueError } from '../queue/queue-error.ts';
import type { BuildDispatch, Dispatch } from './build-dispatch.ts';
import { accountRefusal, type BuilderAccounts } from './builder-accounts.ts';
import { isRefName } from './check-config.ts';
import { asking, type HostConnections } from './connections.ts';
import type { HostClient } from './git-host.ts';
import type { HostReports } from './host-reports.ts';
import type { TriggerForBuilds } from './sql-trigger-store.ts';
import { TriggerError } from './trigger-error.ts';
import type { StartWish } from './triggers.ts';

export interface ManualStartOptions {
  readonly connections: HostConnections;
  readonly accounts: BuilderAccounts;
  readonly dispatch: BuildDispatch;
  readonly reports: HostReports;
}

type Order = Pick<Dispatch, 'metadata' | 'ref'>;

/** Builds what a person asks for, at once and whatever the rules for pushes say. Throws TriggerError. */
export class ManualStart {
  readonly #options: ManualStartOptions;

  constructor(options: ManualStartOptions) {
    this.#options = options;
  }

  async start(
    found: TriggerForBuilds,
    wish: StartWish,
    user: string,
    signal: AbortSignal,
    traceParent: string | undefined,
  ): Promise<Build> {
    const { connections, dispatch, reports, accounts } = this.#options;
    const { trigger } = found;
    const { config } = trigger;
    if (!trigger.active || config === undefined)
      throw new TriggerError(
        'not-active',
        'The build trigger has not been activated yet. Finish its set-up first.',
      );
    if (!trigger.enabled)
      throw new TriggerError('disabled', 'The build trigger is switched off. Switch it on first.');
    const refusal = await accountRefusal(trigger, accounts);
    if (refusal !== undefined) throw new TriggerError('disabled', refusal);
    const client = connections.client(found);
    const order =
      client === undefined ? withoutHost(wish) : await atHost(client, config.build_source, wish, signal);
    try {
      const build = await dispatch.dispatch(found, config, {
        ...order,
        push: true,
        trusted: true,
        manualUser: user,
        traceParent,
      });
      const { commit } = order.metadata;
      if (client !== undefined && commit !== undefined) await reports.follow(trigger.id, build.id, commit);
      return build;
    } catch (thrown) {
      if (thrown instanceof QueueError && thrown.code === 'queue-full')
        throw new TriggerError('queue-full', thrown.message, thrown);
      throw thrown;
    }
  }
}

/** Nobody can be asked: the worker finds out whether it is there. */
function withoutHost(wish: StartWish): Order {
  if ('commit' in wish) return ofText(wish.commit.trim());
  const ref = refOf(wish);
  return { metadata: { ref }, ref };
}

/** Of a commit, whatever branches are called. */
function isDigits(text: string): boolean {
  return /^[0-9a-f]{7,64}$/i.test(text);
}

/** Any commit or ref: `0123abc…`, `refs/heads/main`, `main`. */
function ofText(text: string): Order {
  if (isDigits(text)) return { metadata: { commit: text.toLowerCase() } };
  if (!isRefName(text))
    throw new TriggerError(
      'bad-config',
      `"${cutText(text, 100)}" is neither a commit nor the name of a branch, tag or ref.`,
    );
  return text.startsWith('refs/') ? { metadata: { ref: text }, ref: text } : { metadata: {}, ref: text };
}

async function atHost(
  client: HostClient,
  source: string,
  wish: StartWish,
  signal: AbortSignal,
): Promise<Order> {
  const repository = await asking(client.repository(source, signal));
  const ref = 'commit' in wish ? undefined : refOf(wish);
  const asked = 'commit' in wish ? wish.commit : nameOf(wish);
  const kind = 'commit' in wish ? undefined : 'ref' in wish ? wish.ref.kind : 'branch';
  const look = async () =>
    kind === undefined
      ? await client.commit(source, asked, signal)
      : await client.head(source, kind, asked, signal);
  const found = isRefName(asked) ? await asking(look()) : undefined;
  // Hosts take a branch or a tag of that name for it too.
  if (
    kind === undefined &&
    found !== undefined &&
    isDigits(asked) &&
    !found.sha.startsWith(asked.toLowerCase())
  )
    throw new TriggerError(
      'bad-config',
      `There is no commit that begins with ${asked.slice(0, 100)} in ${source}, but a branch or tag of that name. Say that it is one: --branch or --tag.`,
    );
  if (found === undefined)
    throw new TriggerError(
      'bad-config',
      `There is no ${kind ?? 'commit'} "${cutText(asked, 100)}" in ${source}.`,
    );
  return {
    metadata: {
      commit: found.sha,
      ...(ref === undefined ? {} : { ref }),
      ...(repository.defaultBranch === undefined ? {} : { default_branch: repository.defaultBranch }),
      git_url: repository.sshUrl,
      commit_info: found.info,
    },
  };
}

function nameOf(wish: Exclude<StartWish, { readonly commit: string }>): string {
  return 'ref' in wish ? wish.ref.name : wish.branch;
}

function refOf(wish: Exclude<StartWish, { readonly commit: string }>): string {
  const name = nameOf(wish);
  if (!isRefName(name))
    throw new TriggerError('bad-config', `"${cutText(name, 100)}" is not the name of a branch or tag.`);
  return 'ref' in wish && wish.ref.kind === 'tag' ? `refs/tags/${name}` : `refs/heads/${name}`;
}
