import { expect, test } from 'vitest';
import { storedEvent } from '../stored-event.ts';
import { readCustomGit } from './custom-git-payload.ts';
import { readGithub } from './github-payload.ts';
import { readGitlab } from './gitlab-payload.ts';

const sha = 'a'.repeat(40);
const added = Array.from({ length: 10_001 }, (_, index) => `vendor/${index}.js`);
const commit = {
  id: sha,
  message: 'Vendor',
  timestamp: '2026-01-01T00:00:00Z',
  url: 'https://git.example.com/c',
};
const gitlab = {
  object_kind: 'push',
  ref: 'refs/heads/main',
  before: 'b'.repeat(40),
  after: sha,
  checkout_sha: sha,
  total_commits_count: 1,
  project: {
    default_branch: 'main',
    path_with_namespace: 'acme/web',
    git_ssh_url: 'git@git.example.com:acme/web.git',
  },
  commits: [{ ...commit, added, removed: [], modified: [] }],
};
const github = {
  ref: 'refs/heads/main',
  before: 'b'.repeat(40),
  after: sha,
  repository: { full_name: 'acme/web', default_branch: 'main', ssh_url: 'git@git.example.com:acme/web.git' },
  head_commit: commit,
  // No list of its own is too long.
  commits: [0, 1, 2].map((part) => ({ ...commit, added: added.slice(part * 4_000, (part + 1) * 4_000) })),
};
const own = { name: 'acme/web', gitUrl: 'git@git.example.com:acme/web.git' };
const delivery = (body: unknown) => ({
  headers: { 'content-type': 'application/json' },
  body: Buffer.from(JSON.stringify(body)),
});

test.each([
  ['GitLab', () => readGitlab(delivery(gitlab), own)],
  ['GitHub', () => readGithub(delivery(github), own)],
  ['GitLab, to a custom trigger', () => readCustomGit(delivery(gitlab), { ...own, name: undefined })],
  ['GitHub, to a custom trigger', () => readCustomGit(delivery(github), { ...own, name: undefined })],
])(
  'a push of %s that touches more files than are looked at is a push, and counts as one of any file',
  (_host, read) => {
    const event = read();
    expect(event).toMatchObject({ kind: 'push', metadata: { commit: sha } });
    // Whoever wants to know has to ask the host, and builds when nobody can be asked.
    expect(event).not.toHaveProperty('paths');
    if (event.kind !== 'skip') expect(storedEvent(event)).not.toHaveProperty('paths');
  },
);
