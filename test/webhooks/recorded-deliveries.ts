import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { HookDelivery, HookEvent, OwnRepository } from '../../src/trigger/git-host.ts';
import type { TriggerService } from '../../src/trigger/trigger.ts';

export interface RecordedDelivery {
  readonly name: string;
  readonly delivery: HookDelivery;
  /** What it has to be read as; `malformed`: a part of the message. */
  readonly expected: HookEvent | { readonly malformed: string };
}

/** What the recordings were made of. */
export function ownRepository(service: TriggerService): OwnRepository {
  switch (service) {
    case 'github':
      return { name: 'acme/web', gitUrl: 'git@github.com:acme/web.git' };
    case 'gitlab':
      return { name: 'acme/tools/web', gitUrl: 'git@gitlab.com:acme/tools/web.git' };
    case 'bitbucket':
      return { name: 'acme/web', gitUrl: 'git@bitbucket.org:acme/web.git' };
    case 'custom-git':
      return { name: undefined, gitUrl: 'git@git.example.com:acme/web.git' };
  }
}

/**
 * `NAME.json` has the headers and the body of a delivery (`bodyText`: the body as it came, when that is no good JSON),
 * `NAME.event.json` what it has to be read as.
 */
export function recordedDeliveries(service: TriggerService): readonly RecordedDelivery[] {
  const folder = path.join(import.meta.dirname, service);
  const read = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json') && !file.endsWith('.event.json'))
    .sort()
    .map((file) => {
      const name = file.slice(0, -'.json'.length);
      const { headers, body, bodyText = JSON.stringify(body) } = read(file);
      return {
        name,
        delivery: { headers, body: Buffer.from(bodyText) },
        expected: read(`${name}.event.json`),
      };
    });
}
