import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { gitHosts } from './hosts.ts';

const clock = new ManualClock();

describe('the git hosts of a server', () => {
  it('are those that are switched on, and custom repositories', () => {
    expect([...gitHosts({}).keys()]).toEqual(['custom-git']);
    expect([...gitHosts({ gitlab: { clock } }).keys()]).toEqual(['custom-git', 'gitlab']);
    expect([...gitHosts({ github: { clock }, bitbucket: { clock } }).keys()]).toEqual([
      'custom-git',
      'github',
      'bitbucket',
    ]);
  });

  it('do not load the libraries of their clients before one is used', async () => {
    const program = `
      import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
      const { gitHosts } = await import(${JSON.stringify(new URL('hosts.ts', import.meta.url).href)});
      const clock = { now: () => 0, sleep: async () => {} };
      const site = 'http://127.0.0.1:1';
      const hosts = gitHosts({ github: { site, clock }, gitlab: { site, clock }, bitbucket: { site, api: site, clock } });
      const libraries = () => loaded.filter((url) => /@octokit|@gitbeaker/.test(url)).length;
      const clients = [...hosts.values()].map((host) => host.connect('token'));
      const before = libraries();
      for (const client of clients) await client?.account(new AbortController().signal).catch(() => {});
      console.log(JSON.stringify({ ours: loaded.length > 10, before, after: libraries() > 0 }));
    `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
    expect(JSON.parse(stdout)).toEqual({ ours: true, before: 0, after: true });
  });
});
