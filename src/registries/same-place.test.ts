import { expect, it } from 'vitest';
import { placeOf } from './same-place.ts';

it.each([
  [['quay.io', 'QUAY.io', 'quay.io.', 'quay.io:443'], false, 'quay.io'],
  [['docker.io', 'index.docker.io', 'registry-1.docker.io:443'], false, 'docker.io'],
  [['here:80', 'here', 'here.:80'], true, 'here'],
  [['here:5000', 'HERE.:5000'], false, 'here:5000'],
  [['here:443'], true, 'here:443'],
  [['[::1]:5000'], false, '[::1]:5000'],
])('%j are one place', (hosts, insecure, place) => {
  for (const host of hosts) expect(placeOf({ host, insecure })).toBe(place);
});
