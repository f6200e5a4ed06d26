import type { OwnRepository } from '../git-host.ts';
import { gitUrl, isRepositoryPath } from './git-names.ts';
import type { Payload } from './payload.ts';

/**
 * A secret proves who sends a payload, and not what it is about: whoever has it may not have other repositories cloned
 * with this trigger's key. Hosts do not tell names apart by upper and lower case.
 */
export function requireOwn({ name }: OwnRepository, given: Payload): void {
  if (name === undefined) return;
  const fits = (text: string) => isRepositoryPath(text) && text.toLowerCase() === name.toLowerCase();
  given.shaped({ words: `the name of a repository, and of the one that the trigger builds (${name})`, fits });
}

/** Where the trigger's own repository is cloned from. A URL that the payload has must be one, but is not followed. */
export function ownUrl(own: OwnRepository, name: Payload, url?: Payload): string {
  if (own.name !== undefined) {
    url?.shaped(gitUrl);
    requireOwn(own, name);
  }
  return own.gitUrl;
}
