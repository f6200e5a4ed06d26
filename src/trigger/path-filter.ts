import { cutText } from '../base/cut-text.ts';
import type { Turns } from '../base/turns.ts';
import { Glob } from './glob.ts';

const mostFilters = 100;
const longestFilter = 500;
/** Instructions of all filters of a trigger; 100 filters of 30 characters have half of them. */
const largestProgram = 10_000;
/** Instructions that are looked at for one push, less than half a second of work. */
const mostSteps = 20_000_000;
/** Instructions that are looked at in one go, a few milliseconds; one path may be 40 ms, but no more. */
const stepsAtOnce = 200_000;
/** What is less than this needs no turn of its own. */
const fewSteps = 20_000;

/**
 * Globs over the paths of a push: `*` and `?` stay within a name, `**` goes over any number of folders, `[a-z]` and `{a,b}`
 * as usual. One that ends in `/` means all below that folder. One without a slash in it is looked for in every folder, as in
 * a `.gitignore`. Those that begin with `!` take paths out again.
 *
 * Users write them and pushers choose the paths. So what is looked at is counted, and others get their turn in between.
 */
export class PathFilter {
  readonly #wanted: readonly Glob[];
  readonly #unwanted: readonly Glob[];
  /** Why everything passes, as a sentence. */
  readonly fault: string | undefined;

  constructor(filters: readonly string[]) {
    const tooMany = filters.length > mostFilters;
    const globs = (tooMany ? [] : filters).flatMap((filter) => {
      const glob = globOf(filter);
      return typeof glob === 'string' ? [] : [{ glob, wanted: !filter.startsWith('!') }];
    });
    const size = globs.reduce((sum, { glob }) => sum + glob.size, 0);
    if (tooMany) this.fault = `There are more than ${mostFilters} path filters.`;
    else if (size > largestProgram)
      this.fault =
        'The path filters are too long together: comparing them with a large push would keep the server busy. Use fewer or shorter ones.';
    this.#wanted = globs.filter(({ wanted }) => wanted).map(({ glob }) => glob);
    this.#unwanted = globs.filter(({ wanted }) => !wanted).map(({ glob }) => glob);
  }

  /**
   * Whether one of the paths is wanted. Only exclusions: what they leave is wanted. More paths than can be compared pass:
   * a build too many does less harm than one too few.
   */
  async passes(paths: readonly string[], turns: Turns): Promise<boolean> {
    if (this.fault !== undefined) return true;
    let steps = 0;
    let pause = fewSteps;
    const one = async (globs: readonly Glob[], path: string): Promise<boolean> => {
      for (const glob of globs) {
        // By what it may take, not by what it took: many begin at once.
        if (steps + glob.size * path.length > pause) {
          await turns.next();
          pause = steps + stepsAtOnce;
        }
        if (glob.matches(path, (spent) => (steps += spent))) return true;
      }
      return false;
    };
    for (const path of paths) {
      if (steps > mostSteps) return true;
      const wanted = this.#wanted.length === 0 || (await one(this.#wanted, path));
      if (wanted && !(await one(this.#unwanted, path))) return true;
    }
    return false;
  }
}

/** What is wrong with filters, for people. */
export function faultsOfPathFilters(filters: readonly string[]): readonly string[] {
  const { fault } = new PathFilter(filters);
  if (fault !== undefined) return [fault];
  return filters.flatMap((filter) => {
    const glob = globOf(filter);
    return typeof glob === 'string' ? [`The path filter "${cutText(filter, 100)}" ${glob}.`] : [];
  });
}

/** A text: why it is none, behind its name. */
function globOf(filter: string): Glob | string {
  const text = filter.startsWith('!') ? filter.slice(1) : filter;
  if (/^\/*$/.test(text)) return 'is empty';
  if (filter.length > longestFilter) return `is longer than ${longestFilter} characters`;
  try {
    return new Glob(text);
  } catch {
    return 'is no glob: a bracket or brace has no end, or nothing in it';
  }
}
