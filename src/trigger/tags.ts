import { cutText } from '../base/cut-text.ts';
import { escapeTag, type Tag } from '../model/tag.ts';
import type { TriggerMetadata } from './metadata.ts';
import { nameOfRef, parseRef } from './parsed-ref.ts';
import { semverLadder } from './semver-ladder.ts';
import { shortSha } from './short-sha.ts';
import { fillTagTemplate, parseTagTemplate } from './tag-template.ts';
import type { TriggerConfig } from './trigger-config.ts';

/** What is known of what is built; a branch that is built at its newest commit has none yet. */
export type TaggedMetadata = Partial<TriggerMetadata>;

type TagRules = Pick<
  TriggerConfig,
  'tag_templates' | 'default_tag_from_ref' | 'latest_for_default_branch' | 'semver_tags'
>;

/** As many as a build may have. */
const mostTags = 100;

/** The tags of a build: at least one, each valid, sorted, none twice. Whatever the metadata says, it gives tags. */
export function tagsOf(metadata: TaggedMetadata, rules: TagRules): readonly Tag[] {
  const { commit, ref, default_branch: defaultBranch } = metadata;
  const parsed = parseRef(ref);
  const named = nameOfRef(ref);
  // Those of templates come last: there may be more of them than a build may have.
  const wanted: string[] = [];
  if (rules.default_tag_from_ref && named !== undefined) wanted.push(named);
  if (rules.latest_for_default_branch && parsed.branch !== undefined && parsed.branch === defaultBranch)
    wanted.push('latest');
  if (rules.semver_tags === true && parsed.tag !== undefined) wanted.push(...semverLadder(parsed.tag));
  wanted.push(...fromTemplates(metadata, rules.tag_templates));
  if (wanted.length === 0) wanted.push(commit === undefined ? (named ?? 'latest') : shortSha(commit));
  return [...new Set(wanted.map(escapeTag))].slice(0, mostTags).sort();
}

/** What is wrong with templates, for people; such templates are passed over when tags are made. */
export function faultsOfTemplates(templates: readonly string[]): readonly string[] {
  return templates.flatMap((template) => {
    const parsed = parseTagTemplate(template);
    return typeof parsed === 'string' ? [`The tag template "${cutText(template, 100)}" ${parsed}.`] : [];
  });
}

function fromTemplates(metadata: TaggedMetadata, templates: readonly string[]): string[] {
  const { commit, commit_info: info } = metadata;
  const values = {
    ...metadata,
    commit_info: { ...info, ...(commit === undefined ? {} : { short_sha: shortSha(commit) }) },
    parsed_ref: parseRef(metadata.ref),
  };
  return templates.flatMap((template) => {
    const parsed = parseTagTemplate(template);
    if (typeof parsed === 'string') return [];
    const filled = fillTagTemplate(parsed, values);
    return filled === undefined ? [] : [filled];
  });
}
