import { RE2JS } from 're2js';
import { messageOf } from '../base/coded-error.ts';
import { cutText } from '../base/cut-text.ts';
import { largestProgram, programBound } from './program-bound.ts';

const longest = 1_000;
/** Expressions that are kept compiled; the one that was not used for longest goes first. */
const mostKept = 200;
const kept = new Map<string, RefPattern>();

/**
 * The regular expression of a trigger, which must match all of a ref. Users write it and pushers choose what it is matched
 * against, so it runs in time that is linear in the ref (RE2), times a program that is bounded. One that cannot be used
 * matches everything, as in the field's reference system, and `fault` says why.
 */
export class RefPattern {
  readonly #pattern: RE2JS | undefined;
  readonly fault: string | undefined;
  /** It is an expression, but running it would keep the server busy. */
  readonly tooLarge: boolean;

  private constructor(text: string) {
    this.tooLarge = text.length <= longest && programBound(text) > largestProgram;
    if (text.length > longest) {
      this.fault = `The regular expression is longer than ${longest} characters; everything matches.`;
      return;
    }
    if (this.tooLarge) {
      this.fault = `The regular expression "${cutText(text, 100)}" repeats too much, so everything matches. Use smaller numbers in braces, or * and +.`;
      return;
    }
    try {
      this.#pattern = RE2JS.compile(text);
    } catch (thrown) {
      this.fault = `The regular expression "${cutText(text, 100)}" cannot be used, so everything matches (${cutText(messageOf(thrown), 200)}). Lookarounds and references to groups are not possible.`;
    }
  }

  /** Compiled once: every delivery asks. */
  static of(text: string): RefPattern {
    const pattern = kept.get(text) ?? new RefPattern(text);
    kept.delete(text);
    kept.set(text, pattern);
    const [oldest] = kept.keys();
    if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest);
    return pattern;
  }

  matches(name: string): boolean {
    return this.#pattern?.matches(name) ?? true;
  }
}
