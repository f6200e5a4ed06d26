import type { EscapeCharacter } from './dockerfile-instructions.ts';

/** As deep as defaults of variables are followed in each other. */
const deepest = 10;

/**
 * A word of a Dockerfile as the build takes it: quotes and escapes gone, variables filled in (`$NAME`, `${NAME}`, and with a
 * word behind `:-`, `-`, `:+` or `+`). Undefined: it cannot be told, because it grows beyond `longest` characters, has no
 * end, or asks for something else of a variable. Takes as long as the word is, whatever stands in it.
 */
export function expandWord(
  word: string,
  {
    lookUp,
    escapeBy,
    longest,
  }: {
    readonly lookUp: (name: string) => string | undefined;
    readonly escapeBy: EscapeCharacter;
    readonly longest: number;
  },
): string | undefined {
  let at = 0;

  /** Up to the end, or to the brace that closes the variable whose default it is. */
  function text(depth: number): string | undefined {
    let made = '';
    let quote = '';
    for (; at < word.length; at += 1) {
      const character = word[at] ?? '';
      if (depth > 0 && quote === '' && character === '}') return made;
      if (quote !== "'" && character === '$') {
        const value = variable(depth);
        if (value === undefined) return undefined;
        made += value;
      } else if (character === quote) quote = '';
      else if (quote === '' && (character === '"' || character === "'")) quote = character;
      else if (quote !== "'" && character === escapeBy && at + 1 < word.length) {
        at += 1;
        const next = word[at] ?? '';
        made +=
          quote === '' || next === '"' || next === '$' || next === escapeBy ? next : `${escapeBy}${next}`;
      } else made += character;
      if (made.length > longest) return undefined;
    }
    return depth === 0 && quote === '' ? made : undefined;
  }

  /** From its dollar to its last character. */
  function variable(depth: number): string | undefined {
    const braced = word[at + 1] === '{';
    at += braced ? 2 : 1;
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]{0,199})?/.exec(word.slice(at, at + 200))?.[0] ?? '';
    if (name === '' && !braced) {
      at -= 1;
      return '$';
    }
    const value = lookUp(name);
    at += name.length;
    if (!braced) {
      at -= 1;
      return value ?? '';
    }
    if (name === '') return undefined;
    if (word[at] === '}') return value ?? '';
    const colon = word[at] === ':';
    if (colon) at += 1;
    const sign = word[at];
    if ((sign !== '-' && sign !== '+') || depth === deepest) return undefined;
    at += 1;
    const other = text(depth + 1);
    if (other === undefined) return undefined;
    const isSet = value !== undefined && !(colon && value === '');
    if (sign === '+') return isSet ? other : '';
    return isSet ? value : other;
  }

  return text(0);
}
