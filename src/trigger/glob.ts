const slash = 0x2f;

type Fits = (point: number) => boolean;
const isAny: Fits = () => true;
const isInName: Fits = (point) => point !== slash;

/** A test of a character leads to the next instruction; any other one leads on without a character, to one or two. */
type Instruction =
  | { readonly kind: 'test'; readonly fits: Fits }
  | { readonly kind: 'split'; first: number; second: number }
  | { readonly kind: 'jump'; to: number }
  | { readonly kind: 'end' };

/** The places of a test and of the end stand for themselves. */
const none = -1;

/**
 * A glob as a small machine that is in several places at once: a path takes its length times the size of the glob at most,
 * whatever stands in either. Throws SyntaxError for a text that is no glob.
 */
export class Glob {
  readonly #tests: readonly (Fits | undefined)[];
  readonly #first: Int32Array;
  readonly #second: Int32Array;
  /** For which character an instruction was last come to. */
  readonly #reached: Uint32Array;
  readonly #open: Int32Array;
  #before: Int32Array;
  #places: Int32Array;
  #round = 0;

  constructor(text: string) {
    const program = compile(text);
    this.#tests = program.map((each) => (each.kind === 'test' ? each.fits : undefined));
    this.#first = Int32Array.from(program, (each) =>
      each.kind === 'split' ? each.first : each.kind === 'jump' ? each.to : none,
    );
    this.#second = Int32Array.from(program, (each) => (each.kind === 'split' ? each.second : none));
    const { length } = program;
    this.#reached = new Uint32Array(length);
    this.#open = new Int32Array(length + 1);
    this.#before = new Int32Array(length);
    this.#places = new Int32Array(length);
  }

  /** Instructions. */
  get size(): number {
    return this.#tests.length;
  }

  /** Whether it is of the whole path; `spent` is told how many instructions were looked at. */
  matches(path: string, spent: (steps: number) => void = () => {}): boolean {
    const end = this.size - 1;
    this.#round += 1;
    let count = this.#enter(0, 0);
    let steps = count;
    for (let at = 0; at < path.length; at += 1) {
      const point = path.codePointAt(at) ?? 0;
      if (point > 0xffff) at += 1;
      const before = this.#places;
      this.#places = this.#before;
      this.#before = before;
      this.#round += 1;
      const of = count;
      count = 0;
      for (let index = 0; index < of; index += 1) {
        const place = before[index] ?? 0;
        if (this.#tests[place]?.(point) === true) count = this.#enter(place + 1, count);
      }
      steps += of + 1;
      if (count === 0) break;
    }
    spent(steps);
    return this.#reached[end] === this.#round;
  }

  /** Adds the tests, and the end, that can be come to from there without a character, behind the `count` that are known. */
  #enter(from: number, count: number): number {
    const open = this.#open;
    let known = count;
    let depth = 1;
    open[0] = from;
    while (depth > 0) {
      depth -= 1;
      const place = open[depth] ?? 0;
      if (this.#reached[place] === this.#round) continue;
      this.#reached[place] = this.#round;
      const first = this.#first[place] ?? none;
      if (first === none) {
        this.#places[known] = place;
        known += 1;
        continue;
      }
      const second = this.#second[place] ?? none;
      if (second !== none) {
        open[depth] = second;
        depth += 1;
      }
      open[depth] = first;
      depth += 1;
    }
    return known;
  }
}

function compile(text: string): readonly Instruction[] {
  const anchored = text.replace(/\/+$/, '').includes('/');
  const path = text.replace(/^\/+/, '');
  const tokens = withContents(path.match(/\*\*\/|\*\*|\*|\?|\[[!^]?\]?[^\]]*\]|\{|\}|,|\\.|./gsu) ?? []);
  const program: Instruction[] = [];
  const test = (fits: Fits) => program.push({ kind: 'test', fits });
  const split = () => {
    const made = { kind: 'split' as const, first: program.length + 1, second: program.length + 1 };
    program.push(made);
    return made;
  };
  const repeated = (fits: Fits) => {
    const begin = program.length;
    const loop = split();
    test(fits);
    program.push({ kind: 'jump', to: begin });
    loop.second = program.length;
  };
  const folders = () => {
    const whole = split();
    repeated(isAny);
    test((point) => point === slash);
    whole.second = program.length;
  };
  /** Of the braces that are open: the alternative at hand, and what leads behind the ones before it. */
  const open: { alternative: ReturnType<typeof split>; readonly ends: { kind: 'jump'; to: number }[] }[] = [];
  const alternative = (): boolean => {
    const braces = open.at(-1);
    if (braces === undefined) return false;
    const end = { kind: 'jump' as const, to: 0 };
    program.push(end);
    braces.ends.push(end);
    braces.alternative.second = program.length;
    braces.alternative = split();
    return true;
  };
  if (!anchored) folders();
  for (const [at, token] of tokens.entries()) {
    if (token === '**/') {
      const before = tokens[at - 1] ?? '/';
      const beginsName = before.endsWith('/') || before === '{' || (before === ',' && open.length > 0);
      if (beginsName) folders();
      else {
        repeated(isAny);
        test((point) => point === slash);
      }
    } else if (token === '**') repeated(isAny);
    else if (token === '*') repeated(isInName);
    else if (token === '?') test(isInName);
    else if (token === '{') open.push({ alternative: split(), ends: [] });
    else if (token === '}') {
      const braces = open.pop();
      if (braces === undefined) throw new SyntaxError('a brace has no begin');
      for (const end of braces.ends) end.to = program.length;
    } else if (token === '[') throw new SyntaxError('a bracket has no end');
    else if (token.startsWith('[')) test(setOf(token));
    else if (token !== ',' || !alternative()) {
      const literal = (token.startsWith('\\') && token.length > 1 ? token.slice(1) : token).codePointAt(0);
      test((point) => point === literal);
    }
  }
  if (open.length > 0) throw new SyntaxError('a brace has no end');
  program.push({ kind: 'end' });
  return program;
}

/** With `**` behind each slash that the glob can end with: `src/` and `{src/,lib/}` mean all below. */
function withContents(tokens: readonly string[]): readonly string[] {
  const made: string[] = [];
  /** Whether what comes next, on the way to the front, is at an end of the glob; and that of the braces around it. */
  let isEnd = true;
  const around: boolean[] = [];
  for (const token of tokens.toReversed()) {
    if (token === '}') around.push(isEnd);
    else if (token === ',' && around.length > 0) isEnd = around.at(-1) === true;
    else {
      if (token === '{') around.pop();
      if (isEnd && token.endsWith('/')) made.push('**');
      isEnd = false;
    }
    made.push(token);
  }
  return made.toReversed();
}

/** `[a-z_]`, `[!a-z]` or `[^a-z]`. */
function setOf(token: string): Fits {
  const inner = token.slice(1, -1);
  const negated = /^[!^]/.test(inner);
  const members = [...(negated ? inner.slice(1) : inner)].map((character) => character.codePointAt(0) ?? 0);
  if (members.length === 0) throw new SyntaxError('a bracket has nothing in it');
  const ranges: (readonly [from: number, to: number])[] = [];
  for (let at = 0; at < members.length; at += 1) {
    const from = members[at] ?? 0;
    const to = members[at + 1] === 0x2d ? members[at + 2] : undefined;
    if (to !== undefined && to < from) throw new SyntaxError('a range in brackets is upside down');
    ranges.push([from, to ?? from]);
    if (to !== undefined) at += 2;
  }
  const isMember = (point: number) => ranges.some(([from, to]) => from <= point && point <= to);
  return negated
    ? (point) => point !== slash && !isMember(point)
    : (point) => point !== slash && isMember(point);
}
