import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { forgetGitHost, listGitHosts } from './git-hosts.ts';

let server: ApiHarness;
let root: string;
let kim: string;
const key = 'AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';

beforeEach(async () => {
  server = await startApiServer();
  root = await server.addUser('root', { superuser: true });
  kim = await server.addUser('kim');
});
afterEach(async () => await server[Symbol.asyncDispose]());

const terminal = (token: string) => new MemoryTerminal({ server: server.url, token });

it('lists what builds saw and forgets one of them, which is recorded', async () => {
  const empty = terminal(root);
  await listGitHosts(empty.terminal, {});
  expect(empty.printed).toBe('No git server was seen by ssh yet.\n');
  await server.hostKeys.record(
    [
      { host: 'git.example', port: 22, type: 'ssh-ed25519', key },
      { host: 'git.example', port: 2222, type: 'ssh-ed25519', key },
    ],
    { buildId: 'build-1', namespace: 'team' },
  );
  const listed = terminal(root);
  await listGitHosts(listed.terminal, {});
  expect(listed.printed).toMatch(
    /git\.example:2222 +ssh-ed25519 +SHA256:\+DiY3wvvV6TuJJhbpZisF\/zLDA0zPMSvHdkr4UvCOqU .* team\n$/,
  );
  const first = await server.call('GET', '/api/v1/superuser/git-hosts?limit=1', { token: root });
  expect(first.json).toMatchObject({ git_hosts: [{ server: 'git.example' }], next_page: 'git.example' });
  const forgotten = terminal(root);
  await forgetGitHost(forgotten.terminal, 'git.example:2222', {});
  expect(forgotten.printed).toContain('Forgot the host key of git.example:2222');
  const left = terminal(root);
  await listGitHosts(left.terminal, { json: true });
  expect(JSON.parse(left.printed)).toMatchObject([{ server: 'git.example' }]);
  expect(await server.audit.records({ limit: 10 })).toMatchObject([
    { action: 'git_host.forget', target: { kind: 'server', name: 'git.example:2222' }, result: 'done' },
  ]);
});

it('is for superusers, and for servers that are kept', async () => {
  await expect(listGitHosts(terminal(kim).terminal, {})).rejects.toMatchObject({ status: 403 });
  await expect(forgetGitHost(terminal(root).terminal, 'none.example', {})).rejects.toMatchObject({
    status: 404,
  });
  await expect(forgetGitHost(terminal(root).terminal, 'a b', {})).rejects.toMatchObject({ status: 400 });
});
