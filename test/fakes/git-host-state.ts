import { createHash } from 'node:crypto';

export interface FakeUser {
  readonly id: number;
  readonly username: string;
  readonly name: string;
  readonly email: string;
}

export interface FakeCommit {
  readonly sha: string;
  readonly message: string;
  /** ISO 8601 */
  readonly date: string;
  readonly author: { readonly name: string; readonly email: string };
  readonly parent: string | undefined;
  readonly files: ReadonlyMap<string, Buffer>;
}

export interface FakeHook {
  readonly id: string;
  readonly url: string;
  readonly secret: string | undefined;
  readonly events: readonly string[];
}

export interface FakeKey {
  readonly id: string;
  readonly title: string;
  readonly key: string;
  readonly readOnly: boolean;
}

export interface FakeStatus {
  readonly commit: string;
  /** In the host's own word. */
  readonly state: string;
  readonly context: string;
  readonly url: string;
  readonly description: string;
}

export type FakeRole = 'read' | 'admin';

export interface FakeChange {
  readonly message?: string;
  readonly author?: { readonly name: string; readonly email: string };
  /** Contents by path; undefined removes a file. */
  readonly files?: Readonly<Record<string, string | Buffer | undefined>>;
  readonly date?: string;
}

export class FakeRepository {
  readonly id: number;
  /** `owner/name` */
  readonly name: string;
  readonly owner: string;
  readonly private: boolean;
  defaultBranch = 'main';
  readonly branches = new Map<string, string>();
  /** The commit, and the object of an annotated tag. */
  readonly tags = new Map<string, { readonly commit: string; readonly object: string }>();
  readonly commits = new Map<string, FakeCommit>();
  readonly hooks = new Map<string, FakeHook>();
  readonly keys = new Map<string, FakeKey>();
  readonly statuses: FakeStatus[] = [];
  readonly roles = new Map<string, FakeRole>();
  /** Username of the owner of each fork. */
  #clock = Date.UTC(2026, 9, 2, 11, 20, 39);
  #lastId: number;

  constructor(id: number, name: string, options: { readonly private?: boolean } = {}) {
    this.id = id;
    this.name = name;
    this.owner = name.slice(0, name.lastIndexOf('/'));
    this.private = options.private ?? true;
    this.#lastId = id * 1000;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  /** Puts a commit on top of a branch, which it makes if need be. */
  commit(branch: string, change: FakeChange = {}): string {
    const parent = this.branches.get(branch);
    const files = new Map(parent === undefined ? [] : this.commitAt(parent).files);
    for (const [path, content] of Object.entries(change.files ?? {}))
      if (content === undefined) files.delete(path);
      else files.set(path, Buffer.from(content));
    this.#clock += 60_000;
    const { message = `Change ${branch}`, author = { name: 'Kim Octo', email: 'kim@example.com' } } = change;
    const date = change.date ?? new Date(this.#clock).toISOString();
    const said = JSON.stringify([
      this.name,
      parent,
      message,
      author,
      date,
      [...files].map(([path, content]) => [path, content.toString('base64')]),
    ]);
    const sha = createHash('sha1').update(said).digest('hex');
    this.commits.set(sha, { sha, message, date, author, parent, files });
    this.branches.set(branch, sha);
    return sha;
  }

  tag(name: string, commit: string, annotated = false): void {
    const object = annotated ? createHash('sha1').update(`tag ${name} ${commit}`).digest('hex') : commit;
    this.tags.set(name, { commit, object });
  }

  commitAt(sha: string): FakeCommit {
    const commit = this.commits.get(sha);
    if (commit === undefined) throw new Error(`the fake has no commit ${sha}`);
    return commit;
  }

  /** By branch, tag, or (the beginning of) an id. */
  resolve(ref: string): FakeCommit | undefined {
    const [, kind, name = ref] = /^(?:refs\/)?(heads|tags)\/(.+)$/.exec(ref) ?? [];
    const sha =
      (kind === 'tags' ? undefined : this.branches.get(name)) ??
      (kind === 'heads' ? undefined : this.tags.get(name)?.commit);
    if (sha !== undefined) return this.commits.get(sha);
    if (!/^[0-9a-f]{7,40}$/.test(ref)) return undefined;
    return [...this.commits.values()].find((commit) => commit.sha.startsWith(ref));
  }

  /** Commits that `to` has and `from` has not, oldest first. */
  between(from: string | undefined, to: string): readonly FakeCommit[] {
    const known = new Set<string>();
    for (let at = from; at !== undefined; at = this.commits.get(at)?.parent) known.add(at);
    const found: FakeCommit[] = [];
    for (let at: string | undefined = to; at !== undefined && !known.has(at); ) {
      const commit = this.commitAt(at);
      found.unshift(commit);
      at = commit.parent;
    }
    return found;
  }

  difference(from: string | undefined, to: string) {
    const before = from === undefined ? new Map<string, Buffer>() : this.commitAt(from).files;
    const after = this.commitAt(to).files;
    const paths = (test: (path: string) => boolean) =>
      [...new Set([...before.keys(), ...after.keys()])].filter(test).sort();
    return {
      added: paths((path) => !before.has(path)),
      removed: paths((path) => !after.has(path)),
      modified: paths((path) => {
        const [old, now] = [before.get(path), after.get(path)];
        return old !== undefined && now !== undefined && !old.equals(now);
      }),
    };
  }
}

export interface FakeToken {
  readonly username: string;
  /** False: the host refuses it, as one that has expired or was revoked. */
  valid: boolean;
}

/** What is at a host: people, repositories, tokens. */
export class GitHostState {
  readonly users = new Map<string, FakeUser>();
  /** Organizations, groups or workspaces, with their members. */
  readonly groups = new Map<string, readonly string[]>();
  readonly repositories = new Map<string, FakeRepository>();
  readonly tokens = new Map<string, FakeToken>();

  addUser(username: string, token?: string): FakeUser {
    const user = {
      id: 100 + this.users.size,
      username,
      name: `${username[0]?.toUpperCase()}${username.slice(1)} Octo`,
      email: `${username}@example.com`,
    };
    this.users.set(username, user);
    if (token !== undefined) this.tokens.set(token, { username, valid: true });
    return user;
  }

  addRepository(
    name: string,
    roles: Readonly<Record<string, FakeRole>>,
    options: { readonly private?: boolean } = {},
  ): FakeRepository {
    const repository = new FakeRepository(10 + this.repositories.size, name, options);
    for (const [username, role] of Object.entries(roles)) repository.roles.set(username, role);
    this.repositories.set(name, repository);
    return repository;
  }

  userByEmail(email: string): FakeUser | undefined {
    return [...this.users.values()].find((user) => user.email === email);
  }
}
