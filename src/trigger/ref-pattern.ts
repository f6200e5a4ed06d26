import { RE2JS } from 're2js';
import { messageOf } from '../base/coded-error.ts';

const longest = 1_000;

/**
 * The regular expression of a trigger, which must match all of a ref. Users write it and pushers choose what it is matched
 * against, so it runs in time that is linear in the ref (RE2). One that cannot be used matches everything, as in the
 * field's reference system, and `fault` says why.
 */
export class RefPattern {
  readonly #pattern: RE2JS | undefined;
  readonly fault: string | undefined;

  constructor(text: string) {
    if (text.length > longest) {
      this.fault = `The regular expression is longer than ${longest} characters; everything matches.`;
      return;
    }
    try {
      this.#pattern = RE2JS.compile(text);
    } catch (thrown) {
      this.fault = `The regular expression "${text.slice(0, 100)}" cannot be used, so everything matches (${messageOf(thrown).slice(0, 200)}). Lookarounds and references to groups are not possible.`;
    }
  }

  matches(name: string): boolean {
    return this.#pattern?.matches(name) ?? true;
  }
}
