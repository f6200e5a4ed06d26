import type { Generated, Insertable, Selectable } from 'kysely';

/**
 * Rows as they are stored, the same for both dialects: times are milliseconds since 1970, flags are 0 or 1, `…json`
 * is JSON text. Rows never leave the store that reads them; callers get values of the model.
 */
export interface Schema {
  users: {
    username: string;
    /** As the account code writes it: parameters, salt, hash. */
    password_hash: string;
    email: string | null;
    superuser: Generated<number>;
    disabled: Generated<number>;
    created_at: number;
  };
  tokens: {
    id: string;
    username: string;
    name: string;
    /** SHA-256 of the token, hex; the token itself is nowhere. */
    hash: string;
    scopes_json: string;
    created_at: number;
    expires_at: number | null;
    last_used_at: number | null;
    /** Id of the token that it was made with; null: a password or a browser. */
    made_with: string | null;
  };
  /** Of browsers. The database removes those of a user whose password changes or who is switched off. */
  sessions: {
    id: string;
    /** SHA-256 of the cookie's value, hex; the value itself is nowhere. */
    hash: string;
    username: string;
    /** `password`, or the provider that vouched. */
    way: string;
    created_at: number;
    last_used_at: number;
    /** When it ends if it is not used before; at most `expires_at`. */
    ends_at: number;
    expires_at: number;
    address: string | null;
    user_agent: string | null;
  };
  /** Who a user is elsewhere. `(issuer, subject)` is one person, for ever. */
  external_identities: {
    id: string;
    issuer: string;
    subject: string;
    username: string;
    /** The login it came by, as configured then. */
    provider: string;
    /** What the person is called there; for people to read. */
    label: string;
    created_at: number;
    last_used_at: number | null;
  };
  /** Logins by a provider that have come back, until they would be refused for their age. */
  used_logins: {
    /** SHA-256 of the login's state, hex. */
    hash: string;
    forget_at: number;
  };
  /** A namespace without a row has weight 1 and no limit. */
  namespaces: {
    name: string;
    /** Its share of the slots, relative to others of the same priority. */
    weight: Generated<number>;
    /** Builds that may run at once; null: no limit. */
    max_running: number | null;
    created_at: number;
    /** Names of users and organizations share one space: this one. */
    kind: Generated<string>;
    /** Of an organization. */
    email: Generated<string | null>;
  };
  robots: {
    /** `namespace+short`. */
    name: string;
    namespace: string;
    description: Generated<string>;
    /** SHA-256 of the token, hex. */
    hash: string;
    created_at: number;
    expires_at: number | null;
    last_used_at: number | null;
    /** Id of the personal token that its token was made with; null: a password or a browser. */
    made_with: string | null;
  };
  robot_permissions: {
    namespace: string;
    name: string;
    robot: string;
    role: string;
  };
  /** Of organizations only. */
  teams: {
    namespace: string;
    name: string;
    role: string;
    description: Generated<string>;
    created_at: number;
  };
  team_members: {
    namespace: string;
    team: string;
    username: string;
  };
  team_robots: {
    namespace: string;
    team: string;
    robot: string;
  };
  team_permissions: {
    namespace: string;
    name: string;
    team: string;
    role: string;
  };
  /** Sign-ins that failed lately, by user name, by address and by both. */
  login_failures: {
    key: string;
    count: number;
    last_at: number;
  };
  /** From where users have signed in with a password. */
  known_networks: {
    username: string;
    network: string;
    last_at: number;
  };
  /** Executors that take no new orders. */
  executor_states: {
    name: string;
    state: string;
    changed_at: number;
    changed_by: string;
  };
  /** How each manager finds its executors. */
  executor_reports: {
    manager: string;
    reported_at: number;
    report_json: string;
  };
  /** Workers that try out an executor. */
  worker_trials: {
    attempt_id: string;
    begun_at: number;
    registered_at: number | null;
  };
  /** How many tokens somebody made since a moment. */
  token_turns: {
    owner: string;
    since: number;
    count: number;
  };
  /** A repository without a row runs one build at once. */
  repositories: {
    namespace: string;
    name: string;
    description: Generated<string>;
    visibility: string;
    /** Builds that may run at once. */
    concurrency: Generated<number>;
    created_at: number;
  };
  repository_permissions: {
    namespace: string;
    name: string;
    username: string;
    role: string;
  };
  /** Registries outside of Slipway, of a namespace. */
  registries: {
    namespace: string;
    name: string;
    /** host[:port] */
    host: string;
    /** 1: plain HTTP. */
    insecure: number;
    /** What comes before every path there; may be empty. */
    prefix: string;
    username: string;
    /** See sealed-columns.ts. */
    password_sealed: Uint8Array;
    /** PEM of further certificate authorities. */
    ca: string | null;
    push: number;
    pull: number;
    created_at: number;
    changed_at: number;
  };
  /** A repository without a row publishes to the embedded registry. */
  repository_targets: {
    namespace: string;
    repository: string;
    /** One of the same namespace. */
    registry: string;
    /** The whole path there, with the registry's prefix. */
    path: string;
  };
  uploads: {
    id: string;
    username: string;
    mime_type: string;
    /** Key in the blob store. */
    blob_key: string;
    created_at: number;
    /** Null until all bytes are there. */
    stored_at: number | null;
    size: number | null;
    sha256: string | null;
    /** The repository it was first built for. */
    namespace: string | null;
    repository: string | null;
    /** When a build was last asked for with it. */
    used_at: Generated<number | null>;
  };
  builds: {
    /** Order of arrival. */
    number: Generated<number>;
    id: string;
    namespace: string;
    repository: string;
    priority: number;
    /** The BuildRequest; never changes. */
    request_json: string;
    idempotency_key: string | null;
    phase: string;
    desired: Generated<string>;
    cancelled_by: string | null;
    /** 1: it has one of its repository's places and its attempts may be claimed. 0: waits for a place, or final. */
    admitted: Generated<number>;
    /** How the build as a whole ended, when that is not decided by its jobs alone. */
    verdict: string | null;
    created_at: number;
    started_at: number | null;
    finished_at: number | null;
    fault_json: string | null;
    digest: string | null;
    image_size: number | null;
    /** References under which another registry serves the image; null: none does, or only ours. */
    published_json: Generated<string | null>;
    commit_sha: string | null;
    /** Who publishes, and until when nobody else may try. Both set exactly while all jobs are complete and the build is not final. */
    publisher: string | null;
    publish_until: number | null;
    /** Of builds with the same key in one repository, only the newest need be built. */
    newest_key: string | null;
    /** The build that came with the same key while this one waited. */
    superseded_by: string | null;
    /** Whose build it is; a trigger that is gone may still be named. */
    trigger_id: Generated<string | null>;
  };
  triggers: {
    id: string;
    namespace: string;
    repository: string;
    service: string;
    active: Generated<number>;
    enabled: Generated<number>;
    /** Null while it is enabled. */
    disabled_reason: string | null;
    disabled_at: number | null;
    /** The TriggerConfig; null until it is active. */
    config_json: string | null;
    /** Null: the user was deleted. */
    connected_user: string | null;
    pull_robot: string | null;
    public_key: string | null;
    /** Of the connected account at the host. */
    auth_token_sealed: Uint8Array | null;
    private_key_sealed: Uint8Array | null;
    /** What the host signs deliveries with; null: there is none to sign. */
    webhook_secret_sealed: Uint8Array | null;
    write_token_sealed: Uint8Array | null;
    /** Failures are counted over builds with a higher number. */
    counted_from: Generated<number>;
    /** When its next cron entry is due. */
    cron_at: number | null;
    /** When its source is next looked at for pushes whose delivery was lost; null: never. */
    poll_at: number | null;
    /** Looks in a row that failed. */
    poll_failures: Generated<number>;
    /** 1: its source was looked at, and what is in trigger_refs is all that was there. */
    refs_known: Generated<number>;
    created_at: number;
  };
  /** What builds of a trigger get as secrets. */
  trigger_secrets: {
    trigger_id: string;
    id: string;
    sealed: Uint8Array;
    changed_at: number;
  };
  trigger_deliveries: {
    /** Order of arrival. */
    number: Generated<number>;
    id: string;
    trigger_id: string;
    /** Deliveries with the same key are the same. */
    delivery_key: string;
    /** The host's own name of it; the same name is the same delivery too. */
    name: string | null;
    came_by: string;
    received_at: number;
    /** How often it came besides the first time. */
    repeats: Generated<number>;
    event: string | null;
    /** Empty: there is none, or it is not known yet. */
    ref: Generated<string>;
    commit_sha: string | null;
    /** The StoredEvent that a build is made of; null: there is nothing to build. */
    event_json: string | null;
    redelivery_of: string | null;
    /** Who sent it again. */
    asked_by: string | null;
    trace_parent: string | null;
    outcome: string;
    reason: string | null;
    build_id: string | null;
    /** Of one that waits: when it may be worked on; while somebody does: when another may. */
    due_at: number;
    tries: Generated<number>;
  };
  /** What a look at the source found last. */
  past_deliveries: {
    trigger_id: string;
    /** SHA-256 of the body, in hexadecimal digits. */
    digest: string;
    received_at: number;
  };
  trigger_refs: {
    trigger_id: string;
    ref: string;
    commit_sha: string;
    /** Seen by one look, without a delivery so far. */
    suspect_sha: string | null;
    /** Deliveries with greater numbers say more than this row. */
    heard: Generated<number>;
  };
  /** Builds whose host is still to be told how they are. */
  host_reports: {
    build_id: string;
    trigger_id: string;
    commit_sha: string;
    /** What the host was told last, and under which name. */
    sent: string | null;
    context: Generated<string | null>;
    due_at: number;
    tries: Generated<number>;
    created_at: number;
    /** Until then somebody may be telling the host. */
    taken_until: Generated<number | null>;
  };
  /** What the administrators of a repository are to know, until one of them says that it is known. */
  notices: {
    number: Generated<number>;
    id: string;
    namespace: string;
    repository: string;
    trigger_id: string | null;
    kind: string;
    message: string;
    created_at: number;
    dismissed_at: number | null;
    dismissed_by: string | null;
  };
  /** The managers that are there. One that leaves takes its row away; one that dies stops counting. */
  managers: {
    name: string;
    /** Goes up while the manager lives. */
    beats: number;
    joined_at: number;
  };
  jobs: {
    id: string;
    build_id: string;
    ordinal: number;
    platform: string;
    tries_left: number;
    /** The attempt with the highest epoch. */
    attempt_id: string;
  };
  attempts: {
    id: string;
    job_id: string;
    build_id: string;
    epoch: number;
    state: string;
    namespace: string;
    priority: number;
    /** 1: queued and its build admitted, so it may be claimed from available_at on. */
    ready: number;
    /** Virtual start time in its priority's fair queue. */
    turn: number;
    available_at: number;
    /** When that was said. A time that has not come was told by a clock that is wrong, so nobody waits by it. */
    delayed_at: Generated<number>;
    desired: Generated<string>;
    cancelled_by: string | null;
    outcome_json: string | null;
    executor: string | null;
    worker: string | null;
    manager: string | null;
    lease_until: number | null;
    capabilities_json: string | null;
    /** Of the last log batch stored. */
    log_sequence: Generated<number>;
    /** Of the last stage whose entry is in the log, counted from 1; 0: none. */
    log_stage: Generated<number>;
    /** The number of the last registration; the first one is 1. */
    registrations: Generated<number>;
    /** The number of the registration whose worker was heard first, and whose alone the attempt is from then on; 0: none. */
    heard: Generated<number>;
    /** The stages that were reported, by the sequence numbers of the reports that moved the attempt. */
    reports_json: string | null;
    queued_at: number;
    scheduled_at: number | null;
    registered_at: number | null;
    unpacking_at: number | null;
    pulling_at: number | null;
    building_at: number | null;
    pushing_at: number | null;
    done_at: number | null;
  };
  /** The virtual time of each priority's fair queue: the turn of the attempt claimed last. */
  queue_clocks: {
    priority: number;
    turn: number;
  };
  /** Per namespace and priority: the earliest turn its next attempt may have, for what it has been given already. */
  queue_turns: {
    namespace: string;
    priority: number;
    next_turn: number;
  };
  build_secrets: {
    build_id: string;
    id: string;
    sealed: Uint8Array;
  };
  /** The key each SSH server of git repositories showed when it was seen first; managers are the only writers. */
  git_host_keys: {
    host: string;
    port: number;
    key_type: string;
    /** Base64. */
    public_key: string;
    first_seen: number;
    /** The build that saw it, and whose it was. */
    build_id: string;
    namespace: string;
  };
  log_heads: {
    build_id: string;
    /** Entries in place. */
    total: Generated<number>;
    /** Bytes of text in place. */
    bytes: Generated<number>;
    closed_at: number | null;
    /** Set when the log grew over its limit: from then on entries go to log_tails. */
    cut_at: number | null;
    /** All that came after the cut, whether kept or not. */
    after_cut_entries: Generated<number>;
    after_cut_bytes: Generated<number>;
    /** What log_tails holds. */
    tail_entries: Generated<number>;
    tail_bytes: Generated<number>;
    /** The begin of a character whose end comes with the next batch of `carry_attempt`. */
    carry: Uint8Array | null;
    carry_attempt: string | null;
    carry_time: number | null;
    /** Of a closed log: not before this time it is tried again. While somebody is at it: moves. */
    archive_at: Generated<number>;
    /** Failures so far. */
    archive_tries: Generated<number>;
    /** The blob of who is at it, or archived it; who holds another one has lost the log. */
    archive_key: Generated<string | null>;
    /** Set when the archive has the log; its chunks go with this change, or are named in log_remainders. */
    archived_at: Generated<number | null>;
    /** Set when the entries were removed although the build stays. */
    removed_at: Generated<number | null>;
  };
  log_archives: {
    build_id: string;
    blob_key: string;
    /** Bytes of the blob. */
    size: number;
    sha256: string;
    /** `[entries, bytes]` of each part of the blob, in order. */
    parts_json: string;
  };
  /** Archived logs that still have chunks: large ones are removed a few at a time. */
  log_remainders: { build_id: string };
  /** Blobs that no row refers to: not yet, while they are written, or no more. Who removes the blob removes the row. */
  stray_blobs: {
    store: 'logs' | 'uploads';
    blob_key: string;
    remove_at: number;
  };
  log_chunks: {
    build_id: string;
    first_index: number;
    entries: number;
    bytes: number;
    data: Uint8Array;
  };
  log_tails: {
    build_id: string;
    position: number;
    entries: number;
    bytes: number;
    data: Uint8Array;
  };
  /** Names of repositories that were deleted, until somebody takes them. */
  freed_repositories: {
    namespace: string;
    name: string;
    freed_at: number;
  };
  /** The last push to each tag of the embedded registry. */
  registry_pushes: {
    repository: string;
    tag: string;
    digest: string;
    pusher: string;
    pushed_at: number;
  };
  /** Every manifest that the embedded registry was given; some may be gone. */
  registry_manifests: {
    repository: string;
    digest: string;
  };
  /** Who did what. Rows are added and read, and go as a whole when they are old. */
  audit_records: {
    number: Generated<number>;
    at: number;
    actor_kind: string;
    actor: string | null;
    /** The id of the personal token that was used. */
    token_id: string | null;
    address: string | null;
    user_agent: string | null;
    request_id: string | null;
    action: string;
    target_kind: string | null;
    target: string | null;
    /** Whose administrators may see it. */
    namespace: string | null;
    result: string;
    reason: string | null;
    detail_json: string;
  };
  settings: {
    name: string;
    value_json: string;
  };
}

export type Row<Table extends keyof Schema> = Selectable<Schema[Table]>;
export type NewRow<Table extends keyof Schema> = Insertable<Schema[Table]>;
