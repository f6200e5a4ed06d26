import { cutText } from '../base/cut-text.ts';
import type { TriggerMetadata } from './metadata.ts';
import { RefPattern } from './ref-pattern.ts';
import type { TriggerConfig } from './trigger-config.ts';

const marks = ['[skip build]', '[build skip]'];

/** Why a push is not built, as a sentence; undefined: it is. */
export function skipReason(
  metadata: TriggerMetadata,
  config: Pick<TriggerConfig, 'branchtag_regex'>,
): string | undefined {
  const message = metadata.commit_info?.message ?? '';
  const mark = marks.find((each) => message.includes(each));
  if (mark !== undefined) return `The commit message says ${mark}.`;
  const { branchtag_regex: regex } = config;
  if (regex === undefined || regex === '') return undefined;
  const name = (metadata.ref ?? '').replace(/^refs\//, '');
  if (RefPattern.of(regex).matches(name)) return undefined;
  return `The ref ${cutText(name, 200)} does not match ${cutText(regex, 200)}.`;
}
