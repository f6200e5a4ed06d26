import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultTable } from '../src/model/fault.ts';
import { Metrics } from '../src/telemetry/metrics.ts';

const root = resolve(import.meta.dirname, '..');
const pages = ['*.md', 'docs/**/*.md'].flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
const read = (page: string) => readFileSync(join(root, page), 'utf8');
/** Code is no prose: what looks like a link or a heading in it is none. */
const proseOf = (page: string) => read(page).replace(/^```[\s\S]*?^```$/gm, '');

/** The names a page's headings can be linked by, as they are made where repositories are shown. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = proseOf(page).matchAll(/^#+ +(.+)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function* linksOf(page: string): Generator<string> {
  for (const [, target = ''] of proseOf(page).matchAll(/\]\(([^)\s]+)\)/g))
    if (!/^[a-z]+:/.test(target)) yield target;
}

/** The first cells, in backticks, of a page's table below a heading. */
function cellsBelow(page: string, heading: string): string[] {
  const section = read(page).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, cell = '']) => cell);
}

describe('the documentation', () => {
  it('has no dead link, neither to a file nor to a heading', () => {
    expect(pages.length).toBeGreaterThan(10);
    const dead = pages.flatMap((page) =>
      [...linksOf(page)].filter((target) => {
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? page : relative(root, resolve(root, dirname(page), path));
        if (!existsSync(join(root, file))) return true;
        return anchor !== undefined && !anchorsOf(file).has(anchor);
      }),
    );
    expect(dead).toEqual([]);
  });

  it('can be reached from the README, every page of it', () => {
    const reached = new Set(['README.md']);
    for (const page of reached) {
      for (const target of linksOf(page)) {
        const file = relative(root, resolve(root, dirname(page), target.split('#')[0] ?? ''));
        if (file.endsWith('.md') && existsSync(join(root, file))) reached.add(file);
      }
    }
    expect(pages.filter((page) => !reached.has(page))).toEqual([]);
  });

  it('explains exactly the error codes that there are, with whose fault each is', () => {
    const whose = { user: 'yours', slipway: "Slipway's", infrastructure: 'infrastructure' };
    const rows = Object.entries(faultTable).map(
      ([code, { owner, meaning }]) => `| \`${code}\` | ${whose[owner]} | ${meaning} |`,
    );
    expect(cellsBelow('docs/operations.md', 'Error codes').sort()).toEqual(Object.keys(faultTable).sort());
    for (const row of rows) expect(read('docs/operations.md')).toContain(row);
  });

  it('explains exactly the metrics that there are', async () => {
    const metrics = new Metrics();
    metrics.live.watchQueue(async () => ({ queued: 0, running: 0, ownerless: 0 }));
    metrics.live.watchSurvey(async () => ({ jobs: [], workers: [] }), { phases: [], executors: [] });
    metrics.live.watchOrchestrator(() => true);
    metrics.live.watchPool(() => ({ idle: 0, busy: 0, waiting: 0 }));
    metrics.live.watchManager(() => 0);
    metrics.live.watchArchive(async () => 0);
    metrics.live.watchExecutors(async () => ({ executors: [], alerts: 0 }));
    const { body } = await metrics.text();
    const names = [...body.matchAll(/^# HELP (\S+)/gm)]
      .map(([, name = '']) => name)
      .filter((name) => /^(?:quay|slipway)_/.test(name));
    expect(cellsBelow('docs/operations.md', 'Metrics').sort()).toEqual(names.sort());
  });
});
