/**
 * One pattern of an ignore file, matched by simulating its automaton: time is at most pattern length × path
 * length, whatever the pattern, where a backtracking expression could be made to take forever.
 *
 * The meaning is moby's, with its corners: `*` and `?` stop at `/`; `**` followed by something means any number
 * of whole folders (`a**b` matches `ab` and `ax/b`, not `axb`); a final `**` means everything that follows; and
 * a leading `**` before plain text means "ends with" (`**foo` matches `xfoo`).
 */
type Token =
  | { readonly kind: 'char'; readonly char: string }
  /** One character of a class; as in moby it may match `/`. */
  | {
      readonly kind: 'class';
      readonly negated: boolean;
      readonly ranges: readonly (readonly [string, string])[];
    }
  /** `?` */
  | { readonly kind: 'one' }
  /** `*` */
  | { readonly kind: 'some' }
  /** `**` with something after it: nothing, or anything up to and with a `/` */
  | { readonly kind: 'folders' }
  /** `**` at the end, or at the start of plain text */
  | { readonly kind: 'anything' };

/** The automaton's live states after some text: position i of `#tokens`, plus "inside folders" per position. */
type States = Uint8Array;
const atStart = 1;
/** Inside a `folders` token, which has eaten something and waits for its `/`. */
const inside = 2;

export class IgnorePattern {
  /** As written, without the `!`. */
  readonly text: string;
  /** `!pattern`: what it matches is kept after all. */
  readonly reincludes: boolean;
  readonly #tokens: readonly Token[];
  readonly #plain: boolean;

  /** `text` is clean (no `//`, `.`, final `/`). Throws SyntaxError when it cannot be read. */
  constructor(text: string, reincludes: boolean) {
    this.text = text;
    this.reincludes = reincludes;
    this.#tokens = tokenise(text);
    this.#plain = this.#tokens.every((token) => token.kind === 'char') && !text.includes('\\');
  }

  matches(path: string): boolean {
    if (this.#plain) return path === this.text;
    const end = this.#run(path);
    return end !== undefined && end[this.#tokens.length] === atStart;
  }

  /** Whether something below the folder could match. */
  couldMatchBelow(folder: string): boolean {
    if (this.#plain) return this.text.startsWith(`${folder}/`);
    return this.#run(`${folder}/`) !== undefined;
  }

  /** The states after the text; undefined when none is left. */
  #run(text: string): States | undefined {
    const tokens = this.#tokens;
    let states: States = new Uint8Array(tokens.length + 1);
    let next: States = new Uint8Array(tokens.length + 1);
    states[0] = atStart;
    skipEmpty(tokens, states);
    for (const char of text) {
      next.fill(0);
      let alive = false;
      for (let i = 0; i < tokens.length; i++) {
        const state = states[i] ?? 0;
        const token = tokens[i];
        if (state === 0 || token === undefined) continue;
        alive = step(token, i, state, char, next) || alive;
      }
      if (!alive) return undefined;
      skipEmpty(tokens, next);
      [states, next] = [next, states];
    }
    return states;
  }
}

function step(token: Token, i: number, state: number, char: string, next: States): boolean {
  switch (token.kind) {
    case 'char':
      return token.char === char && enter(next, i + 1);
    case 'one':
      return char !== '/' && enter(next, i + 1);
    case 'class':
      return inClass(token, char) && enter(next, i + 1);
    case 'some':
      return char !== '/' && enter(next, i);
    case 'anything':
      return enter(next, i);
    case 'folders':
      if (char === '\n') return false;
      next[i] = (next[i] ?? 0) | inside;
      if (char === '/') enter(next, i + 1);
      return state !== 0;
  }
}

function enter(states: States, i: number): true {
  states[i] = (states[i] ?? 0) | atStart;
  return true;
}

/** Tokens that may match nothing are passed over at once. */
function skipEmpty(tokens: readonly Token[], states: States): void {
  for (let i = 0; i < tokens.length; i++) {
    if (((states[i] ?? 0) & atStart) === 0) continue;
    const kind = tokens[i]?.kind;
    if (kind === 'some' || kind === 'anything' || kind === 'folders') enter(states, i + 1);
  }
}

function inClass({ negated, ranges }: Extract<Token, { kind: 'class' }>, char: string): boolean {
  const point = char.codePointAt(0) ?? 0;
  const found = ranges.some(
    ([from, to]) => (from.codePointAt(0) ?? 0) <= point && point <= (to.codePointAt(0) ?? 0),
  );
  return found !== negated;
}

function tokenise(text: string): Token[] {
  const chars = [...text];
  const tokens: Token[] = [];
  let leading = false;
  for (let i = 0; i < chars.length; ) {
    const char = chars[i++] ?? '';
    if (char === '*' && chars[i] === '*') {
      const first = i === 1;
      i++;
      const slash = chars[i] === '/';
      if (slash) i++;
      if (i >= chars.length) tokens.push({ kind: 'anything' });
      else {
        tokens.push({ kind: 'folders' });
        leading ||= first && !slash;
      }
    } else if (char === '*') tokens.push({ kind: 'some' });
    else if (char === '?') tokens.push({ kind: 'one' });
    else if (char === '[') {
      const { token, end } = readClass(chars, i);
      tokens.push(token);
      i = end;
    } else if (char === '\\') {
      const escaped = chars[i++];
      if (escaped === undefined) throw new SyntaxError('a backslash at the end');
      tokens.push({ kind: 'char', char: escaped });
    } else tokens.push({ kind: 'char', char });
  }
  const suffixOnly =
    leading && !text.includes('\\') && tokens.slice(1).every((token) => token.kind === 'char');
  return suffixOnly ? [{ kind: 'anything' }, ...tokens.slice(1)] : tokens;
}

/** Reads after a `[`, as Go's filepath.Match does: `^` negates, `\` escapes, `-` makes a range. */
function readClass(chars: readonly string[], start: number): { token: Token; end: number } {
  let i = start;
  const negated = chars[i] === '^';
  if (negated) i++;
  const ranges: [string, string][] = [];
  const readChar = (): string => {
    let char = chars[i++];
    if (char === '-' || char === ']') throw new SyntaxError(`"${char}" in a [class] needs a backslash`);
    if (char === '\\') char = chars[i++];
    if (char === undefined) throw new SyntaxError('a "[" without its "]"');
    return char;
  };
  while (chars[i] !== ']' || ranges.length === 0) {
    const from = readChar();
    let to = from;
    if (chars[i] === '-') {
      i++;
      to = readChar();
    }
    ranges.push([from, to]);
  }
  return { token: { kind: 'class', negated, ranges }, end: i + 1 };
}
