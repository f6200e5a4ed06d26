/**
 * Splits a Dockerfile into instructions in linear time, whatever the text: continuations, comments inside them, the
 * `escape` directive and here-documents are followed; nothing inside an instruction is interpreted. (dockerfile-ast
 * reads more, but takes seconds for a megabyte of flags, and Dockerfiles are hostile.)
 */
export interface Instruction {
  /** As written. */
  readonly keyword: string;
  /** What follows the keyword, continuations joined, trimmed. */
  readonly rest: string;
  /** From 1. */
  readonly line: number;
  readonly heredocs: readonly Heredoc[];
}

export interface Heredoc {
  readonly delimiter: string;
  /** Whether a line with the delimiter follows; without one a shell may still make sense of `<<`. */
  readonly terminated: boolean;
}

export interface SplitDockerfile {
  readonly instructions: readonly Instruction[];
  /** Comment lines that stand between instructions, trimmed. */
  readonly comments: readonly string[];
  /** What takes the next character for itself. */
  readonly escapeBy: EscapeCharacter;
}

export type EscapeCharacter = '\\' | '`';

export function splitInstructions(text: string): SplitDockerfile {
  const lines = text.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  const escapeBy = escapeCharacter(lines);
  const positions = new LinePositions(lines);
  const instructions: Instruction[] = [];
  const comments: string[] = [];
  let at = 0;
  while (at < lines.length) {
    const first = (lines[at] ?? '').trim();
    const line = at + 1;
    if (first === '' || first.startsWith('#')) {
      if (first !== '') comments.push(first);
      at += 1;
      continue;
    }
    const parts: string[] = [];
    for (; at < lines.length; at += 1) {
      const current = lines[at] ?? '';
      const trimmed = current.trim();
      if (parts.length > 0 && (trimmed === '' || trimmed.startsWith('#'))) continue;
      const continued = trimmed.endsWith(escapeBy);
      parts.push(continued ? trimmed.slice(0, -1) : trimmed);
      if (!continued) {
        at += 1;
        break;
      }
    }
    const whole = parts.join('').trim();
    const gap = whole.search(/\s/);
    const keyword = gap < 0 ? whole : whole.slice(0, gap);
    const rest = gap < 0 ? '' : whole.slice(gap).trim();
    const heredocs: Heredoc[] = [];
    for (const { delimiter, stripTabs } of heredocsOf(keyword, rest, escapeBy)) {
      const end = positions.next(delimiter, stripTabs, at);
      heredocs.push({ delimiter, terminated: end !== undefined });
      if (end !== undefined) at = end + 1;
    }
    instructions.push({ keyword, rest, line, heredocs });
  }
  return { instructions, comments, escapeBy };
}

/** `# escape=` counts only among the directives at the very top. */
function escapeCharacter(lines: readonly string[]): EscapeCharacter {
  for (const line of lines) {
    const directive = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(\S+)\s*$/.exec(line.slice(0, 200).trim());
    if (directive === null) return '\\';
    if (directive[1]?.toLowerCase() === 'escape') return directive[2] === '`' ? '`' : '\\';
  }
  return '\\';
}

const heredocWord = /^[0-9]*<<(-?)(["']?)([a-zA-Z_][a-zA-Z0-9_.-]*)\2$/;

function heredocsOf(
  keyword: string,
  rest: string,
  escapeBy: EscapeCharacter,
): { delimiter: string; stripTabs: boolean }[] {
  if (!rest.includes('<<')) return [];
  const carriedOut = /^onbuild$/i.test(keyword) ? (/^\S{0,10}/.exec(rest)?.[0] ?? '') : keyword;
  if (!/^(run|copy|add)$/i.test(carriedOut)) return [];
  const found: { delimiter: string; stripTabs: boolean }[] = [];
  for (const word of wordsOf(rest, escapeBy)) {
    const match = heredocWord.exec(word);
    if (match?.[3] !== undefined) found.push({ delimiter: match[3], stripTabs: match[1] === '-' });
  }
  return found;
}

/** Words between blanks, quotes kept: a blank or `<<` inside a quoted string is text. */
export function* wordsOf(text: string, escapeBy: EscapeCharacter): Generator<string> {
  let start = -1;
  let quote = '';
  for (let at = 0; at <= text.length; at += 1) {
    const character = text[at];
    const ends = character === undefined || (quote === '' && /\s/.test(character));
    if (ends) {
      if (start >= 0) yield text.slice(start, at);
      start = -1;
      continue;
    }
    if (start < 0) start = at;
    if (character === escapeBy && quote !== "'") at += 1;
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = '';
  }
}

/** Where a line's text occurs next, in constant time on average: the asked-for positions only grow. */
class LinePositions {
  readonly #lines: readonly string[];
  readonly #exact = new Map<string, number[]>();
  readonly #stripped = new Map<string, number[]>();
  #indexed = false;

  constructor(lines: readonly string[]) {
    this.#lines = lines;
  }

  next(text: string, stripTabs: boolean, from: number): number | undefined {
    this.#index();
    const places = (stripTabs ? this.#stripped : this.#exact).get(text);
    // Kept in falling order, so that passed places are popped.
    while (places !== undefined && places.length > 0) {
      const place = places.at(-1) ?? -1;
      if (place >= from) return place;
      places.pop();
    }
    return undefined;
  }

  #index(): void {
    if (this.#indexed) return;
    this.#indexed = true;
    for (let at = this.#lines.length - 1; at >= 0; at -= 1) {
      const line = this.#lines[at] ?? '';
      if (line.length > longestDelimiterLine) continue;
      append(this.#exact, line, at);
      append(this.#stripped, line.replace(/^\t+/, ''), at);
    }
  }
}

const longestDelimiterLine = 1000;

function append(map: Map<string, number[]>, key: string, value: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
