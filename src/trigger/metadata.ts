/**
 * What is known of the commit that is built; it stands in `trigger_metadata` of a build, and tag templates read it. Values
 * that are not known are left out. The shape is that of the field's reference system.
 */
export interface TriggerMetadata {
  /** 7 hex digits or more, lower case. */
  readonly commit: string;
  /** `refs/heads/…`, `refs/tags/…`, `refs/remotes/…`, or what a host gives pull requests. Absent: a bare commit. */
  readonly ref?: string;
  /** The name without `refs/heads/`. */
  readonly default_branch?: string;
  readonly git_url: string;
  readonly commit_info?: CommitInfo;
}

export interface CommitInfo {
  readonly url: string;
  readonly message: string;
  /** ISO 8601. */
  readonly date: string;
  readonly author?: CommitPerson;
  readonly committer?: CommitPerson;
}

export interface CommitPerson {
  readonly username: string;
  readonly url?: string;
  readonly avatar_url?: string;
}
