import { describe, expect, it } from 'vitest';
import { ownRepository, recordedDeliveries } from '../../../test/webhooks/recorded-deliveries.ts';
import { systemClock } from '../../base/clock.ts';
import type { GitHost, HookEvent } from '../git-host.ts';
import { triggerServices } from '../trigger.ts';
import { TriggerError } from '../trigger-error.ts';
import { gitHosts } from './hosts.ts';

const hosts = gitHosts({
  github: { clock: systemClock },
  gitlab: { clock: systemClock },
  bitbucket: { clock: systemClock },
});

function outcome(read: () => HookEvent): unknown {
  try {
    return read();
  } catch (thrown) {
    if (!(thrown instanceof TriggerError) || thrown.code !== 'malformed') throw thrown;
    return { malformed: thrown.message };
  }
}

describe.each(triggerServices)('deliveries recorded of %s', (service) => {
  const host = hosts.get(service) as GitHost;
  const recordings = recordedDeliveries(service);

  it('are many', () => {
    expect(recordings.length).toBeGreaterThan(30);
  });

  it.each(recordings)('$name', ({ delivery, expected }) => {
    const given = outcome(() => host.read(delivery, ownRepository(service)));
    if ('malformed' in expected)
      expect(given).toEqual({ malformed: expect.stringContaining(expected.malformed) });
    else expect(given).toEqual(expected);
  });
});
