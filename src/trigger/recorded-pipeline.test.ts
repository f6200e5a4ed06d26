import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BitbucketApi } from '../../test/fakes/bitbucket-api.ts';
import type { GitHostServer } from '../../test/fakes/git-host-server.ts';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { GitlabApi } from '../../test/fakes/gitlab-api.ts';
import { type ScratchDatabase, scratchMemory } from '../../test/harness/scratch-database.ts';
import { never, siteRepository, type TriggerSite, triggerSite } from '../../test/harness/trigger-site.ts';
import { type RecordedDelivery, recordedDeliveries } from '../../test/webhooks/recorded-deliveries.ts';
import { systemClock } from '../base/clock.ts';
import { gitHosts } from './host/hosts.ts';
import { signatureOf } from './host/proof.ts';
import { type TriggerService, triggerServices } from './trigger.ts';
import { TriggerError } from './trigger-error.ts';

const fakes: Readonly<Record<TriggerService, () => GitHostServer>> = {
  github: () => new GithubApi(),
  gitlab: () => new GitlabApi(),
  bitbucket: () => new BitbucketApi(),
  'custom-git': () => new GithubApi(),
};
const sources: Readonly<Record<TriggerService, string>> = {
  github: 'acme/web',
  gitlab: 'acme/tools/web',
  bitbucket: 'acme/web',
  'custom-git': 'git@git.example.com:acme/web.git',
};

/** What the rules of a trigger skip although the host's payload is a push. */
const skippedByRules = new Set(['skip-build']);

/** A table: every recorded delivery goes, signed, through the whole way to the queue. */
describe.each(triggerServices)('what becomes of recorded deliveries of %s', (service) => {
  let fake: GitHostServer;
  let scratch: ScratchDatabase;
  let site: TriggerSite;
  const recordings = recordedDeliveries(service);

  beforeAll(async () => {
    fake = await fakes[service]().start();
    fake.state.addUser('kim', 'good-token');
    scratch = await scratchMemory();
    const at = { site: fake.url, clock: systemClock };
    site = await triggerSite(scratch, {
      hosts: gitHosts({ github: at, gitlab: at, bitbucket: { ...at, api: `${fake.url}/2.0` } }),
    });
    if (service === 'custom-git') return;
    for (const name of [sources[service], 'mallory/web']) {
      const repository = fake.state.addRepository(name, { kim: 'admin' });
      const known = repository.commitAt(repository.commit('main', { message: 'As the host knows it' }));
      // The host knows what was pushed there.
      for (const { expected, delivery } of recordings) {
        if ('malformed' in expected || expected.kind === 'skip') continue;
        const { commit } = expected.metadata;
        const [full = commit] =
          new RegExp(`"${commit}[0-9a-f]{${40 - Math.min(40, commit.length)}}"`).exec(
            Buffer.from(delivery.body).toString(),
          ) ?? [];
        const sha = commit.length < 40 ? commit.padEnd(40, '0') : full.replaceAll('"', '');
        repository.commits.set(sha, { ...known, sha });
      }
    }
  });

  afterAll(async () => {
    await site[Symbol.asyncDispose]();
    await scratch[Symbol.asyncDispose]();
    await fake[Symbol.asyncDispose]();
  });

  /** An active trigger, and what signs for it. */
  async function active() {
    const { triggers } = site.open;
    if (service === 'custom-git') {
      const { trigger, token } = await site.custom({ build_source: sources[service] });
      return { id: trigger.id, token, sign: () => ({}) };
    }
    const { id } = await triggers.create(siteRepository, { service, user: 'kim', token: 'good-token' });
    const config = { build_source: sources[service], pull_requests: 'all' as const };
    await triggers.activate(id, { config, origin: 'https://slipway.example.com' }, never);
    const repository = fake.state.repositories.get(sources[service]);
    const secret = [...(repository?.hooks.values() ?? [])].at(-1)?.secret ?? '';
    const sign = (body: Uint8Array): Record<string, string> =>
      service === 'gitlab'
        ? { 'x-gitlab-token': secret }
        : {
            [service === 'github' ? 'x-hub-signature-256' : 'x-hub-signature']: signatureOf(body, secret),
          };
    return { id, token: undefined, sign };
  }

  async function deliver({ delivery }: RecordedDelivery) {
    const { triggers } = site.open;
    const { id, token, sign } = await active();
    const headers = { ...delivery.headers, ...sign(delivery.body) };
    let refusal: TriggerError | undefined;
    try {
      await triggers.deliver(id, { headers, body: delivery.body }, token);
    } catch (thrown) {
      if (!(thrown instanceof TriggerError)) throw thrown;
      refusal = thrown;
    }
    await site.settle();
    const [listed] = await triggers.deliveries(id, 10);
    const builds = await triggers.builds(id, 10);
    await triggers.remove(id);
    return { refusal, listed, outcome: listed?.outcome, builds };
  }

  it.each(recordings)('$name', async (recording) => {
    const { expected, name } = recording;
    const { refusal, listed, outcome, builds } = await deliver(recording);
    if ('malformed' in expected) {
      expect(refusal?.code).toBe('malformed');
      expect(outcome).toEqual({ kind: 'refused', reason: expect.stringContaining(expected.malformed) });
      expect(builds).toEqual([]);
      return;
    }
    expect(refusal).toBeUndefined();
    if (expected.kind === 'skip') {
      expect(outcome).toEqual({ kind: 'skipped', reason: expected.reason });
      expect([listed?.ref, listed?.commit]).toEqual([expected.at?.ref, expected.at?.commit]);
      expect(builds).toEqual([]);
      return;
    }
    if (skippedByRules.has(name)) {
      expect(outcome?.kind).toBe('skipped');
      expect([listed?.ref, listed?.commit]).toEqual([expected.metadata.ref, expected.metadata.commit]);
      expect(builds).toEqual([]);
      return;
    }
    const [build] = builds;
    expect(outcome).toEqual({ kind: 'queued', build: build?.id });
    const { commit, ref } = expected.metadata;
    // Where the host said at activation, whatever the payload says.
    const git_url = expected.metadata.git_url.replace(/git@(github|gitlab)\.com:/, 'git@$1.example.com:');
    expect(build?.triggerMetadata).toMatchObject({
      commit: expect.stringMatching(new RegExp(`^${commit}`)),
      ref,
      git_url,
      // Bitbucket's payload does not tell, and of a custom trigger nobody can be asked.
      ...(name === 'bitbucket-push' ? {} : { default_branch: 'main' }),
    });
    expect(build?.source).toMatchObject({ kind: 'git', url: git_url });
    for (const tag of build?.tags ?? []) expect(tag).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/);
    if (expected.kind === 'push' && ref === 'refs/heads/main' && name !== 'bitbucket-push')
      expect(build?.tags).toContain('latest');
  });
});
