import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, vi } from 'vitest';
import { GithubApi } from '../../test/fakes/github-api.ts';
import { scratchMemory } from '../../test/harness/scratch-database.ts';
import { never, push, siteRepository, triggerSite } from '../../test/harness/trigger-site.ts';
import { systemClock } from '../base/clock.ts';
import { gitHosts } from './host/hosts.ts';

it('a host that does not answer holds up its own deliveries alone, and not those that others wait for', async () => {
  await using github = await new GithubApi().start();
  github.state.addUser('kim', 'good-token');
  const repository = github.state.addRepository('kim/app', { kim: 'admin' });
  repository.commit('main', { files: { Dockerfile: 'FROM debian:12\n' } });
  await using scratch = await scratchMemory();
  await using site = await triggerSite(scratch, {
    hosts: gitHosts({ github: { site: github.url, api: `${github.url}/api/v3`, clock: systemClock } }),
  });
  const { triggers, background } = site.open;
  const taken: Buffer[] = [];
  const door = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    taken.push(Buffer.concat(chunks));
    const id = request.url?.split('/').at(-1) ?? '';
    await triggers.deliver(id, { headers, body: Buffer.concat(chunks) }, undefined);
    response.end();
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  try {
    const { id } = await triggers.create(siteRepository, {
      service: 'github',
      user: 'kim',
      token: 'good-token',
    });
    const origin = `http://127.0.0.1:${(door.address() as AddressInfo).port}`;
    await triggers.activate(
      id,
      { config: { build_source: 'kim/app', path_filters: ['src/'] }, origin },
      never,
    );
    const { trigger, token } = await site.custom();
    github.fail({ at: /\/api\/v3/, status: 0, how: 'hang', times: 1_000 });
    // More refs than are taken of one trigger, and more than are taken in one round.
    const before = repository.branches.get('main');
    for (let index = 0; index < 100; index += 1) {
      const name = `branch-${index}`;
      repository.commit(name);
      await github.push(repository, `refs/heads/${name}`, undefined, repository.branches.get(name));
    }
    expect(taken.length, String(before)).toBeGreaterThanOrEqual(100);
    background.worker.start();
    const hanging = () =>
      github.requests.filter(
        (each) => each.includes('/compare/') || each.includes('/users/') || each.includes('/commits/'),
      ).length;
    await vi.waitFor(() => expect(hanging()).toBeGreaterThan(0));
    await triggers.deliver(trigger.id, push('refs/heads/main'), token);
    await vi.waitFor(async () => {
      // Whatever the worker waits for between its rounds.
      await site.clock.advance(1_000);
      expect(await triggers.builds(trigger.id, 10)).toHaveLength(1);
    });
    const waiting = (await triggers.deliveries(id, 200)).filter(({ outcome }) => outcome.kind === 'waiting');
    expect(waiting).toHaveLength(100);
    // As many as may be under way, and no more.
    expect(hanging()).toBeLessThan(100);
    await background.worker.stop();
  } finally {
    door.closeAllConnections();
    await new Promise((resolve) => door.close(resolve));
  }
});
