import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { never } from '../../test/harness/trigger-site.ts';
import { PasswordHasher } from '../account/password-hash.ts';
import { SqlAccounts } from '../account/sql-accounts.ts';
import { SqlAuditLog } from '../audit/sql-audit-log.ts';
import { systemClock as clock } from '../base/clock.ts';
import { SecretBox } from '../db/secret-box.ts';
import { SqlBuildQueue } from '../queue/sql-build-queue.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { composeGitHosts } from './compose-git-hosts.ts';
import { composeTriggers } from './compose-triggers.ts';

test('of a private base image of ours the robots are told, and whether each can read it', async () => {
  await using scratch = await scratchMemory();
  await using github = await new GithubApi().start();
  const { database } = scratch;
  const secretBox = new SecretBox({ key: randomBytes(32) });
  const accounts = new SqlAccounts({ database, passwords: new PasswordHasher(), clock });
  await accounts.createUser({ username: 'kim', password: 'correct horse battery' });
  await accounts.createUser({ username: 'eve', password: 'correct horse battery' });
  for (const name of ['app', 'base'])
    await accounts.createRepository({ namespace: 'kim', name }, { visibility: 'private' });
  await accounts.robots.create({ namespace: 'kim', short: 'reader' });
  await accounts.robots.create({ namespace: 'kim', short: 'other' });
  await accounts.setPermission({ namespace: 'kim', name: 'base' }, 'kim+reader', 'read');
  github.state.addUser('kim', 'token');
  github.state
    .addRepository('kim/src', { kim: 'admin' })
    .commit('main', { files: { Dockerfile: 'FROM registry.example.com/kim/base:1\n' } });
  await using queue = new SqlBuildQueue(database, { secretBox, clock });
  const host = { site: github.url, api: `${github.url}/api/v3`, oauth: undefined };
  await using open = composeTriggers({
    database,
    secretBox,
    queue,
    audit: new SqlAuditLog({ database, clock }),
    accounts,
    hosts: composeGitHosts({ github: host, gitlab: undefined, bitbucket: undefined }, clock),
    registryHost: 'registry.example.com',
    url: 'https://registry.example.com',
    failureThreshold: undefined,
    internalErrorThreshold: undefined,
    metrics: new Metrics(),
    clock,
    logger: pino({ enabled: false }),
  });
  const { id } = await open.triggers.create(
    { namespace: 'kim', name: 'app' },
    { service: 'github', user: 'kim', token: 'token' },
  );
  const analyze = async (username: string) =>
    await open.triggers.analyze(id, { build_source: 'kim/src' }, { username }, never);
  expect(await analyze('kim')).toMatchObject({
    status: 'requiresrobot',
    namespace: 'kim',
    name: 'base',
    isAdmin: true,
    robots: [
      { name: 'kim+other', canRead: false },
      { name: 'kim+reader', canRead: true },
    ],
  });
  // Who may not see the image does not learn of it, nor of any robot.
  expect(await analyze('eve')).toEqual({ status: 'error', message: expect.any(String), faults: [] });
});
