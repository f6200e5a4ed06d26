import { createHash } from 'node:crypto';
import { cutText, storableText } from '../base/cut-text.ts';
import type { BuildRequest } from '../model/build.ts';
import { escapeTag, type Tag } from '../model/tag.ts';
import { nameOfRef } from './parsed-ref.ts';
import { shortSha } from './short-sha.ts';
import { type TaggedMetadata, tagsOf } from './tags.ts';
import type { Trigger } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** What is to be built of a trigger's source. */
export interface BuildOrder {
  readonly metadata: TaggedMetadata;
  /** What git is asked for when the commit is not known. */
  readonly ref?: string;
  /** False for pull requests: nothing is published. */
  readonly push: boolean;
  /** The number of the pull request that it is of. */
  readonly pullRequest?: number;
  /** False for what comes from somebody else's repository: no secrets, no build arguments, no robot's permissions. */
  readonly trusted: boolean;
  /** Who asked, when a person did. */
  readonly manualUser?: string;
}

/** The request for the queue. The URL of a custom trigger is its own, whatever a payload says. */
export function requestOf(trigger: Trigger, config: TriggerConfig, order: BuildOrder): BuildRequest {
  const { metadata } = order;
  const ref = order.ref ?? metadata.ref;
  const { commit } = metadata;
  const url =
    trigger.service === 'custom-git' ? config.build_source : (metadata.git_url ?? config.build_source);
  return {
    repository: trigger.repository,
    source: {
      kind: 'git',
      url,
      // Where digits mean a commit, no branch of that name is to be taken for it.
      ...(commit === undefined ? { ref: ref ?? 'HEAD' } : { sha: commit }),
      ...(config.lfs === true ? { lfs: true } : {}),
    },
    context: config.context,
    dockerfilePath: config.dockerfile_path,
    tags: tagsOfOrder(order, config),
    displayName: commit === undefined ? cutText(nameOfRef(ref) ?? ref ?? 'HEAD', 100) : shortSha(commit),
    platforms: config.platforms ?? [],
    // They are known to say more than they should, and a fork's Dockerfile can print them.
    buildArgs: order.trusted ? storableValues(config.build_args ?? {}) : {},
    labels: {},
    noCache: false,
    push: order.push,
    ...(order.manualUser === undefined ? {} : { manualUser: order.manualUser }),
    ...(trigger.pullRobot === undefined || !order.trusted ? {} : { pullRobot: trigger.pullRobot }),
    triggerId: trigger.id,
    ...(order.trusted ? {} : { untrusted: true }),
    triggerMetadata: { ...metadata, git_url: url },
    priority: 0,
  };
}

/** No program can be given others; they are refused since, but may have been stored before. */
function storableValues(args: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(args).map(([name, value]) => [name, storableText(value)]));
}

/** A ref that is only a name, which may be a branch or a tag, is its own tag. */
function tagsOfOrder({ metadata, ref }: BuildOrder, config: TriggerConfig): readonly Tag[] {
  if (metadata.commit !== undefined || metadata.ref !== undefined || ref === undefined)
    return tagsOf(metadata, config);
  return [escapeTag(nameOfRef(ref) ?? ref)];
}

/** Builds with the same key are of the same ref of the same trigger; a pull request never supersedes what is pushed. */
export function newestKeyOf(trigger: Trigger, ref: string, pullRequest: number | undefined): string {
  const kind = pullRequest === undefined ? 'push' : `pull-request ${pullRequest}`;
  return createHash('sha256').update(`trigger ${trigger.id} ${kind} ${ref}`).digest('hex');
}
