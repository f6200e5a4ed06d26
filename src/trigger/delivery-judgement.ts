import type { Turns } from '../base/turns.ts';
import type { BuildOrder } from './build-order.ts';
import type { HostClient } from './git-host.ts';
import { HostError } from './host-error.ts';
import type { TriggerMetadata } from './metadata.ts';
import { PathFilter } from './path-filter.ts';
import { skipReason } from './skip-rules.ts';
import type { StoredEvent } from './stored-event.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** What comes of a delivery: a build, or nothing and why. */
export type Judgement =
  | { readonly kind: 'build'; readonly order: BuildOrder }
  | { readonly kind: 'skip'; readonly reason: string };

type Push = Extract<StoredEvent, { readonly kind: 'push' }>;
type PullRequest = Extract<StoredEvent, { readonly kind: 'pull-request' }>;
type Head = Extract<StoredEvent, { readonly kind: 'head' }>;

interface Case {
  readonly config: TriggerConfig;
  /** Undefined: there is nobody to ask. */
  readonly client: HostClient | undefined;
  readonly signal: AbortSignal;
  /** For what users write and pushers feed, which may take its time. */
  readonly turns: Turns;
}

/** Decides about one delivery; what only the host knows is asked of it. Throws HostError when it does not answer. */
export async function judge(event: StoredEvent, about: Case): Promise<Judgement> {
  switch (event.kind) {
    case 'push':
      return await judgePush(event, about);
    case 'pull-request':
      return await judgePullRequest(event, about);
    case 'head':
      return await judgeHead(event, about);
  }
}

async function judgePush(event: Push, about: Case): Promise<Judgement> {
  const { config } = about;
  // Before anything is asked for what will not be built.
  const early = await reasonToSkip(event.metadata, config, about);
  if (early !== undefined) return skip(early);
  const metadata = await completed(event, about);
  if (metadata === undefined) return skip('The host knows of nothing to build there.');
  const reason =
    (await reasonToSkip(metadata, metadata.ref === event.metadata.ref ? {} : config, about)) ??
    (await pathReason(event, about));
  return reason === undefined ? build(metadata) : skip(reason);
}

/** An expression may take long, and many deliveries are judged at once. */
async function reasonToSkip(
  metadata: TriggerMetadata,
  config: Pick<TriggerConfig, 'branchtag_regex'>,
  { turns }: Case,
): Promise<string | undefined> {
  if (config.branchtag_regex !== undefined) await turns.next();
  return skipReason(metadata, config);
}

async function pathReason(
  { paths, before, metadata }: Push,
  { config, client, signal, turns }: Case,
): Promise<string | undefined> {
  const { path_filters: filters = [] } = config;
  if (filters.length === 0) return undefined;
  const changed =
    paths ??
    (before === undefined || client === undefined
      ? undefined
      : await client.changedPaths(config.build_source, before, metadata.commit, signal));
  // What nobody can say counts as changed: a build too many does less harm than one too few.
  if (changed === undefined) return undefined;
  // Reading the filters is a piece of work as well.
  await turns.next();
  if (await new PathFilter(filters).passes(changed, turns)) return undefined;
  return 'No path that the push changed passes the path filters.';
}

async function judgePullRequest(event: PullRequest, about: Case): Promise<Judgement> {
  const { pull_requests: wanted = 'none', branchtag_regex } = about.config;
  if (wanted === 'none') return skip('Pull requests are not built by this trigger.');
  if (event.fork && wanted !== 'all')
    return skip('The pull request comes from a fork, and forks are not built.');
  const metadata = await completed(event, about);
  if (metadata === undefined) return skip('The host knows of nothing to build there.');
  // The expression is about branches: the one that counts is the one it is to be merged into.
  const asBase = { ...metadata, ref: `refs/heads/${event.base}` };
  const reason = await reasonToSkip(asBase, branchtag_regex === undefined ? {} : { branchtag_regex }, about);
  if (reason !== undefined) return skip(reason);
  return { kind: 'build', order: { metadata, push: false, trusted: !event.fork, pullRequest: event.number } };
}

/** At its time the branch is built, whatever its last commit says. */
async function judgeHead({ branch }: Head, { config, client, signal }: Case): Promise<Judgement> {
  if (client === undefined) {
    if (branch === undefined)
      return skip('There is no branch to build, and nobody to ask for the default one.');
    const ref = `refs/heads/${branch}`;
    return { kind: 'build', order: { metadata: { ref }, ref, push: true, trusted: true } };
  }
  const repository = await client.repository(config.build_source, signal);
  const name = branch ?? repository.defaultBranch;
  if (name === undefined) return skip('The repository has no default branch.');
  const found = await client.head(config.build_source, 'branch', name, signal);
  if (found === undefined) return skip(`There is no branch ${name}.`);
  return build({
    commit: found.sha,
    ref: `refs/heads/${name}`,
    ...(repository.defaultBranch === undefined ? {} : { default_branch: repository.defaultBranch }),
    git_url: repository.sshUrl,
    commit_info: found.info,
  });
}

const refusals: ReadonlySet<string> = new Set(['unauthorized', 'forbidden', 'not-found']);

/** People and the like: that the account may not ask any more is no reason not to build. */
async function completed(
  { metadata, incomplete }: Push | PullRequest,
  { config, client, signal }: Case,
): Promise<TriggerMetadata | undefined> {
  if (!incomplete || client === undefined) return metadata;
  try {
    return await client.complete(config.build_source, metadata, signal);
  } catch (thrown) {
    if (thrown instanceof HostError && refusals.has(thrown.code)) return metadata;
    throw thrown;
  }
}

function build(metadata: TriggerMetadata): Judgement {
  return { kind: 'build', order: { metadata, push: true, trusted: true } };
}

function skip(reason: string): Judgement {
  return { kind: 'skip', reason };
}
