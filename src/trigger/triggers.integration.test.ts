import { describe, expect, it } from 'vitest';
import { scratchPostgres } from '../../test/harness/scratch-database.ts';
import { push, triggerSite } from '../../test/harness/trigger-site.ts';
import { deliveriesSuite } from './deliveries.suite.ts';
import { triggersSuite } from './triggers.suite.ts';

triggersSuite('PostgreSQL', scratchPostgres);
deliveriesSuite('PostgreSQL', scratchPostgres);

describe('several managers on PostgreSQL', () => {
  it('take the same deliveries at once, and make each build once and in order', async () => {
    await using scratch = await scratchPostgres();
    await using site = await triggerSite(scratch);
    const { trigger, token } = await site.custom();
    const other = await site.another();
    site.open.start();
    other.open.start();
    const commits = Array.from({ length: 60 }, (_, index) => index.toString(16).padStart(40, 'a'));
    for (const commit of commits) {
      const delivery = push('refs/heads/main', { commit });
      await Promise.all(
        [site, other, site].map(async ({ open }) => await open.triggers.deliver(trigger.id, delivery, token)),
      );
    }
    const made = async () => await site.open.triggers.builds(trigger.id, 200);
    const later = async () => {
      // Workers wait a moment for more before the next round.
      await site.clock.advance(100);
      return (await made()).length;
    };
    await expect.poll(later, { timeout: 20_000 }).toBe(60);
    await Promise.all([site.open.stop(), other.open.stop()]);
    expect((await made()).map(({ triggerMetadata }) => triggerMetadata?.commit).reverse()).toEqual(commits);
  });
});
