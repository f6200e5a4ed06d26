import { messageOf } from '../base/coded-error.ts';
import { cutText, isStorable } from '../base/cut-text.ts';
import { locateDockerfile, normalisePath } from '../context/dockerfile-path.ts';
import { parseGitUrl } from '../egress/git-url.ts';
import { faultsOfCron } from './cron-schedule.ts';
import { faultsOfPathFilters, PathFilter } from './path-filter.ts';
import { RefPattern } from './ref-pattern.ts';
import { faultsOfTemplates } from './tags.ts';
import type { TriggerService } from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { TriggerError } from './trigger-error.ts';

const mostTemplates = 100;
const sourceName = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$/;
/** What only activation itself writes. */
type Given = Omit<Partial<TriggerConfig>, 'git_url' | 'hook_id' | 'deploy_key_id'>;

/**
 * A configuration as it is stored: complete, its paths in their one form. Throws TriggerError `bad-config` that says what
 * cannot be built. Templates and regular expressions are left as they are: see `faultsOfConfig`.
 */
export function checkConfig(service: TriggerService, given: Given, now: number): TriggerConfig {
  const { dockerfile_path, context } = checkPaths(given);
  const templates = given.tag_templates ?? [];
  if (templates.length > mostTemplates) throw bad(`There are more than ${mostTemplates} tag templates.`);
  const pattern = RefPattern.of(given.branchtag_regex ?? '');
  const faults = [
    ...(pattern.tooLarge
      ? [
          'The regular expression repeats too much: it would keep the server busy. Use smaller numbers in braces, or * and +.',
        ]
      : []),
    ...faultsOfPathFilters(given.path_filters ?? []),
    ...faultsOfCron(given.cron ?? [], now),
    ...(given.cron ?? []).flatMap(({ branch }) => faultOfBranch(service, branch)),
    ...(given.platforms ?? []).flatMap(faultOfPlatform),
    ...Object.entries(given.build_args ?? {}).flatMap(faultOfBuildArg),
  ];
  if (faults.length > 0) throw bad(faults.join(' '));
  return {
    build_source: checkSource(service, given.build_source),
    dockerfile_path,
    context,
    default_tag_from_ref: given.default_tag_from_ref ?? true,
    latest_for_default_branch: given.latest_for_default_branch ?? true,
    tag_templates: templates,
    ...optional(given),
  };
}

/** What is passed over when builds are made, for people. */
export function faultsOfConfig(config: Given): readonly string[] {
  const { branchtag_regex: regex } = config;
  const fault = regex === undefined || regex === '' ? undefined : RefPattern.of(regex).fault;
  const tooHeavy = new PathFilter(config.path_filters ?? []).fault;
  return [
    ...faultsOfTemplates(config.tag_templates ?? []),
    ...(fault === undefined ? [] : [fault]),
    ...(tooHeavy === undefined ? [] : [`${tooHeavy} Until then every push is built.`]),
  ];
}

function optional(given: Given): Partial<TriggerConfig> {
  const { branchtag_regex, path_filters, cron, pull_requests, newest_only } = given;
  const { build_args, platforms, semver_tags, lfs } = given;
  const values = {
    branchtag_regex,
    path_filters,
    cron,
    pull_requests,
    newest_only,
    build_args,
    platforms,
    semver_tags,
    lfs,
  };
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function checkSource(service: TriggerService, source = ''): string {
  if (source === '') throw bad('Say what to build: "build_source" is missing.');
  if (service !== 'custom-git') {
    if (source.length <= 500 && sourceName.test(source)) return source;
    throw bad('"build_source" must be the name of a repository, such as owner/name.');
  }
  try {
    const { credentials, scheme } = parseGitUrl(source);
    if (credentials !== undefined)
      throw bad(
        'The git URL has a user name or password in it. Leave it out: the key that the trigger gets is what opens the repository.',
      );
    if (scheme === 'http')
      throw bad('The git URL uses http, which anybody on the way can change. Use https or ssh.');
    return source;
  } catch (thrown) {
    throw thrown instanceof TriggerError ? thrown : bad(messageOf(thrown), thrown);
  }
}

function checkPaths(given: Given): Pick<TriggerConfig, 'dockerfile_path' | 'context'> {
  try {
    const context = normalisePath('context', given.context ?? '/');
    const { dockerfilePath } = locateDockerfile({
      dockerfilePath: given.dockerfile_path || '/Dockerfile',
      context,
    });
    if (context !== '/' && !dockerfilePath.startsWith(`${context}/`))
      throw bad(
        `The Dockerfile ${dockerfilePath} is not below the context ${context}. Choose a folder above it as the context.`,
      );
    return { dockerfile_path: dockerfilePath, context };
  } catch (thrown) {
    throw thrown instanceof TriggerError ? thrown : bad(messageOf(thrown), thrown);
  }
}

function faultOfBranch(service: TriggerService, branch: string | undefined): string[] {
  if (branch === undefined)
    return service === 'custom-git'
      ? [
          'Each cron entry of a custom git trigger needs a "branch": there is nobody to ask for the default one.',
        ]
      : [];
  return isRefName(branch) ? [] : [`"${cutText(branch, 100)}" in "cron" is not the name of a branch.`];
}

function faultOfPlatform(platform: string): string[] {
  return /^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/.test(platform)
    ? []
    : [`"${cutText(platform, 100)}" is not a platform. Write it like linux/amd64.`];
}

function faultOfBuildArg([name, value]: readonly [string, string]): string[] {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && isStorable(value)
    ? []
    : [`"${cutText(name, 100)}" is no build argument that can be given.`];
}

/** git's own rules for the names of refs, and nothing that a program could take for an option. */
export function isRefName(text: string): boolean {
  if (text === '' || text === '@' || text.length > 255 || !text.isWellFormed()) return false;
  if (/[\s~^:?*[\\\p{Cc}]|\.\.|@\{|\/\/|\/$|^\/|\.$/u.test(text)) return false;
  return text.split('/').every((part) => !/^[.+-]|\.lock$/.test(part));
}

function bad(message: string, cause?: unknown): TriggerError {
  return new TriggerError('bad-config', message, cause);
}
