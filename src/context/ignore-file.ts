import { posix } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { ContextError } from './context-error.ts';
import { IgnorePattern } from './ignore-pattern.ts';

/**
 * The ignore files of a context in the order in which they are looked for; the first that exists counts alone.
 * `dockerfile` is relative to the context.
 */
export function ignoreFileNames(dockerfile: string): readonly string[] {
  return [`${dockerfile}.dockerignore`, '.dockerignore'];
}

/**
 * The rules of one `.dockerignore`, with moby's meaning: later patterns win, a pattern that matches a folder
 * holds for everything below, `!pattern` keeps what an earlier one dropped, `.` and `/` say nothing. Paths are
 * relative to the context, separated by `/`, without a leading slash.
 */
export class IgnoreFile {
  readonly patterns: readonly IgnorePattern[];

  private constructor(patterns: readonly IgnorePattern[]) {
    this.patterns = patterns;
  }

  static readonly empty = new IgnoreFile([]);

  /** `name` is used in messages. Throws ContextError `bad-ignore-file`, which names the line. */
  static parse(text: string, name = '.dockerignore'): IgnoreFile {
    const patterns: IgnorePattern[] = [];
    text
      .replace(/^\uFEFF/, '')
      .split(/\r?\n/)
      .forEach((line, index) => {
        if (line.startsWith('#')) return;
        const written = line.trim();
        if (written === '') return;
        const reincludes = written.startsWith('!');
        const bare = reincludes ? written.slice(1).trim() : written;
        try {
          if (bare === '') throw new SyntaxError('a "!" without a pattern');
          patterns.push(new IgnorePattern(cleanPattern(bare), reincludes));
        } catch (error) {
          throw new ContextError(
            'bad-ignore-file',
            `Line ${index + 1} of ${name} cannot be read: ${messageOf(error)}. Correct or remove it.`,
            error,
          );
        }
      });
    return new IgnoreFile(patterns);
  }

  /** Whether the path is left out. */
  excludes(path: string): boolean {
    let scope = this.root();
    const names = path.split('/');
    for (const name of names.slice(0, -1)) scope = scope.enter(name);
    return scope.enter(names.at(-1) ?? '').excluded;
  }

  /** Where a walk through the context begins. */
  root(): IgnoreScope {
    return new IgnoreScope(this.patterns, '', []);
  }
}

/** One path of a walk: what is known of it is handed down, so that each path costs each pattern once. */
export class IgnoreScope {
  readonly path: string;
  readonly excluded: boolean;
  readonly #patterns: readonly IgnorePattern[];
  /** Per pattern, whether it matches the path or a folder above it. */
  readonly #matched: readonly boolean[];

  constructor(patterns: readonly IgnorePattern[], path: string, matched: readonly boolean[]) {
    this.path = path;
    this.#patterns = patterns;
    this.#matched = matched;
    this.excluded = patterns[matched.lastIndexOf(true)]?.reincludes === false;
  }

  /** The scope of a member of this folder. */
  enter(name: string): IgnoreScope {
    const path = this.path === '' ? name : `${this.path}/${name}`;
    const matched = this.#patterns.map((pattern, i) => this.#matched[i] === true || pattern.matches(path));
    return new IgnoreScope(this.#patterns, path, matched);
  }

  /**
   * Whether anything below this folder may be kept. For an excluded folder only a `!` pattern that stands after
   * the last pattern that matched can bring something back.
   */
  get mayKeepBelow(): boolean {
    if (!this.excluded) return true;
    const last = this.#matched.lastIndexOf(true);
    return this.#patterns.some(
      (pattern, i) => i > last && pattern.reincludes && pattern.couldMatchBelow(this.path),
    );
  }
}

/** Go's filepath.Clean, then without the leading slash. */
function cleanPattern(pattern: string): string {
  const normal = posix.normalize(pattern);
  const trimmed = normal.length > 1 ? normal.replace(/\/$/, '') : normal;
  return trimmed.length > 1 && trimmed.startsWith('/') ? trimmed.slice(1) : trimmed;
}
