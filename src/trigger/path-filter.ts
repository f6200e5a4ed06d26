import { RE2JS } from 're2js';

const mostFilters = 100;
const longestFilter = 500;

/**
 * Globs over the paths of a push: `*` and `?` stay within a name, `**` goes over any number of folders, `[a-z]` and `{a,b}`
 * as usual. One that ends in `/` means all below that folder. One without a slash in it is looked for in every folder, as in
 * a `.gitignore`. Those that begin with `!` take paths out again.
 */
export class PathFilter {
  readonly #wanted: readonly RE2JS[];
  readonly #unwanted: readonly RE2JS[];

  constructor(filters: readonly string[]) {
    const compile = (globs: readonly string[]) => globs.map((glob) => RE2JS.compile(patternOf(glob)));
    const usable = filters.filter((filter) => faultOf(filter) === undefined);
    this.#wanted = compile(usable.filter((filter) => !filter.startsWith('!')));
    this.#unwanted = compile(
      usable.filter((filter) => filter.startsWith('!')).map((filter) => filter.slice(1)),
    );
  }

  /** Whether one of the paths is wanted. Only exclusions: what they leave is wanted. */
  passes(paths: readonly string[]): boolean {
    return paths.some(
      (path) =>
        (this.#wanted.length === 0 || this.#wanted.some((glob) => glob.matches(path))) &&
        !this.#unwanted.some((glob) => glob.matches(path)),
    );
  }
}

/** What is wrong with filters, for people. */
export function faultsOfPathFilters(filters: readonly string[]): readonly string[] {
  if (filters.length > mostFilters) return [`There are more than ${mostFilters} path filters.`];
  return filters.flatMap((filter) => {
    const fault = faultOf(filter);
    return fault === undefined ? [] : [`The path filter "${filter.slice(0, 100)}" ${fault}.`];
  });
}

function faultOf(filter: string): string | undefined {
  const glob = filter.startsWith('!') ? filter.slice(1) : filter;
  if (glob === '' || glob === '/') return 'is empty';
  if (filter.length > longestFilter) return `is longer than ${longestFilter} characters`;
  try {
    RE2JS.compile(patternOf(glob));
    return undefined;
  } catch {
    return 'is no glob: a bracket or brace has no end, or nothing in it';
  }
}

/** A glob as a regular expression of RE2, for the whole of a path without leading slash. */
function patternOf(glob: string): string {
  const anchored = glob.replace(/\/+$/, '').includes('/');
  const path = glob.replace(/^\/+/, '');
  const body = path.endsWith('/') ? `${path}**` : path;
  const tokens = body.match(/\*\*\/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\{|\}|,|\\.|./gsu) ?? [];
  let depth = 0;
  let pattern = anchored ? '' : '(?:.*/)?';
  for (const token of tokens) {
    if (token === '**/') pattern += '(?:.*/)?';
    else if (token === '**') pattern += '.*';
    else if (token === '*') pattern += '[^/]*';
    else if (token === '?') pattern += '[^/]';
    else if (token === '{') {
      depth += 1;
      pattern += '(?:';
    } else if (token === '}') {
      depth -= 1;
      pattern += ')';
    } else if (token === ',' && depth > 0) pattern += '|';
    else if (token.startsWith('[') && token.length > 1) pattern += setOf(token);
    else pattern += RE2JS.quote(token.startsWith('\\') && token.length > 1 ? token.slice(1) : token);
  }
  if (depth !== 0) throw new SyntaxError('a brace has no end');
  return `(?s)${pattern}`;
}

function setOf(token: string): string {
  const inner = token.slice(1, -1);
  const negated = /^[!^]/.test(inner);
  const members = (negated ? inner.slice(1) : inner).replace(/[\\[\]^&~]/g, '\\$&');
  if (members === '') throw new SyntaxError('a bracket has nothing in it');
  return negated ? `[^/${members}]` : `[${members}]`;
}
