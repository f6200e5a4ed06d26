import { createHash, createHmac } from 'node:crypto';
import { Agent, request } from 'node:http';
import { usageNow } from '../manager/messages.ts';
import type { SenderOptions, Sent, Target } from './messages.ts';

/**
 * Sends deliveries at a steady rate, whether earlier ones were answered or not: a host does not wait for us either. The
 * time of each counts from when it was due, so that an answer that is late makes no later one look good.
 */
const { targets, githubEvery, rate, seconds, warmUp } = JSON.parse(process.argv[2] ?? '') as SenderOptions;
const agent = new Agent({ keepAlive: true, maxSockets: 1_000 });

const hosted = targets.find(({ kind }) => kind === 'github');
const others = targets.filter(({ kind }) => kind !== 'github');

interface Prepared {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Before the first one is due, so that sending costs little. */
function prepare(n: number): Prepared {
  const target = n % githubEvery === 0 ? hosted : others[n % others.length];
  if (target === undefined) throw new RangeError('no targets');
  const commit = target.commits?.[n / githubEvery] ?? createHash('sha1').update(`commit ${n}`).digest('hex');
  const branch = n % 10 === 0 ? 'main' : `feature/${n % 97}`;
  const body = Buffer.from(
    JSON.stringify(target.kind === 'token' ? push(commit, branch) : githubPush(commit, branch)),
  );
  return {
    url: new URL(target.url),
    body,
    headers: {
      'content-type': 'application/json',
      'content-length': String(body.length),
      ...proofOf(target, body, commit),
    },
  };
}

function proofOf({ kind, secret }: Target, body: Buffer, commit: string): Record<string, string> {
  if (kind === 'token')
    return { authorization: `Basic ${Buffer.from(`$token:${secret}`).toString('base64')}` };
  const signature = `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  if (kind === 'signed') return { 'x-slipway-signature-256': signature };
  return {
    'x-github-event': 'push',
    'x-github-delivery': `${commit.slice(0, 8)}-0000-4000-8000-${commit.slice(8, 20)}`,
    'x-hub-signature-256': signature,
  };
}

function push(commit: string, branch: string) {
  return {
    commit,
    ref: `refs/heads/${branch}`,
    default_branch: 'main',
    commit_info: {
      url: '',
      message: 'A change of one file',
      date: '2026-01-01T00:00:00Z',
      author: { username: 'ada', url: '', avatar_url: '' },
    },
  };
}

/** As large as GitHub's are: some 7 KiB. */
function githubPush(commit: string, branch: string) {
  const person = { name: 'Ada', email: 'ada@example.com', username: 'ada' };
  const commits = Array.from({ length: 3 }, (_, n) => ({
    id: n === 2 ? commit : createHash('sha1').update(`${commit} ${n}`).digest('hex'),
    tree_id: commit,
    distinct: true,
    message: `Change ${n}`,
    timestamp: '2026-01-01T00:00:00Z',
    url: `https://github.example/kim/app/commit/${commit}`,
    author: person,
    committer: person,
    added: [],
    removed: [],
    modified: ['src/main.ts', 'README.md'],
  }));
  return {
    ref: `refs/heads/${branch}`,
    before: '1'.repeat(40),
    after: commit,
    forced: false,
    created: false,
    deleted: false,
    compare: 'https://github.example/kim/app/compare/1...2',
    commits,
    head_commit: commits[2],
    pusher: person,
    sender: {
      login: 'ada',
      id: 1,
      avatar_url: 'https://github.example/ada.png',
      html_url: 'https://github.example/ada',
    },
    repository: {
      id: 1,
      full_name: 'kim/app',
      ssh_url: 'git@github.example:kim/app.git',
      default_branch: 'main',
      // Addresses of the interface, of which GitHub sends some fifty.
      ...Object.fromEntries(
        Array.from({ length: 50 }, (_, n) => [
          `link_${n}_url`,
          `https://api.github.example/repos/kim/app/link/${n}`,
        ]),
      ),
    },
  };
}

async function send({ url, headers, body }: Prepared): Promise<string> {
  return await new Promise<string>((resolve) => {
    const sent = request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.once('end', () => resolve(String(response.statusCode)));
      response.once('error', () => resolve('error'));
    });
    sent.once('error', () => resolve('error'));
    sent.end(body);
  });
}

const count = rate * (seconds + warmUp);
const all = Array.from({ length: count }, (_, n) => prepare(n));
const times: number[] = [];
const statuses: Record<string, number> = {};
let late = 0;
const before = usageNow();
const begun = performance.now();
await Promise.all(
  all.map(async (prepared, n) => {
    const due = begun + (n * 1000) / rate;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    const counted = n >= rate * warmUp;
    if (counted) late = Math.max(late, performance.now() - due);
    const status = await send(prepared);
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (counted) times.push(performance.now() - due);
  }),
);
agent.destroy();
const after = usageNow();
const result: Sent = {
  kind: 'sent',
  times,
  statuses,
  late,
  usage: { ...after, cpu: after.cpu - before.cpu },
};
process.send?.(result);
process.on('message', () => process.disconnect());
