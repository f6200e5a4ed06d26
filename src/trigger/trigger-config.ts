/**
 * What a trigger builds, and as what. The names are those of the REST interface and of stored configurations, which clients
 * of the field's reference system know; absent values are left out.
 */
export interface TriggerConfig {
  /** `owner/name` at a host, or the git URL of a custom trigger. */
  readonly build_source: string;
  /** Path in the source; `/Dockerfile` unless given. */
  readonly dockerfile_path: string;
  /** Folder in the source; `/` unless given. */
  readonly context: string;
  /** The last part of the ref becomes a tag: branch `feature/x` → `feature/x`, escaped. Default true. */
  readonly default_tag_from_ref: boolean;
  /** What is built from the default branch is tagged `latest` as well. Default true. */
  readonly latest_for_default_branch: boolean;
  /** `${path.to.value}` of the metadata. */
  readonly tag_templates: readonly string[];
  /** Matched against all of the ref without `refs/`, such as `heads/main`. One that is no regular expression matches everything. */
  readonly branchtag_regex?: string;
  /** Globs; a push is built only when it changes a path that one of them matches, and that none with a leading `!` does. */
  readonly path_filters?: readonly string[];
  /** Times at which a branch is built without a push. */
  readonly cron?: readonly CronEntry[];
  /** `none` unless given. Pull requests are built and never pushed; those from forks see no secrets. */
  readonly pull_requests?: 'none' | 'same-repository' | 'all';
  /** A newer push to a ref supersedes builds of that ref that still wait. */
  readonly newest_only?: boolean;
  readonly build_args?: Readonly<Record<string, string>>;
  readonly platforms?: readonly string[];
  /** `v1.2.3` gives the tags 1.2.3, 1.2 and 1 as well. */
  readonly semver_tags?: boolean;
  /** Fetches the contents of Git LFS pointers. */
  readonly lfs?: boolean;
  /** Where the host said at activation that the source is cloned from; a custom trigger's source is its URL. */
  readonly git_url?: string;
  /** What the host calls the hook that was installed at activation. */
  readonly hook_id?: string;
  /** What the host calls the deploy key that was installed at activation. */
  readonly deploy_key_id?: string;
}

export interface CronEntry {
  /** Five fields, in UTC: minute, hour, day of the month, month, day of the week. */
  readonly schedule: string;
  /** The default branch unless given. */
  readonly branch?: string;
}
