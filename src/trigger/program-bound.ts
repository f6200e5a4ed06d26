/** Instructions of a compiled expression: about 40 ms for a ref of 1,000 characters. */
export const largestProgram = 1_500;

interface Group {
  sum: number;
  last: number;
}

/**
 * How many instructions RE2 makes of an expression at most, without compiling it: counted repeats are copies, so a short
 * text can be a program of any size, and compiling that is what takes long.
 */
export function programBound(text: string): number {
  const outer: Group[] = [];
  let group: Group = { sum: 4, last: 0 };
  const atom = (size: number) => {
    group.sum += group.last;
    group.last = size;
  };
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at);
    const [taken = '', first, second] = /^(?:\{(\d+)(?:,(\d*))?\})/.exec(rest) ?? [];
    if (first !== undefined) {
      group.last = (group.last + 1) * Math.max(Number(first), Number(second ?? 0), 1) + 2;
      at += taken.length;
      continue;
    }
    // Flags are no atom: a repeat behind them is one of what stands before.
    const flags = /^\(\?[A-Za-z-]*\)/.exec(rest);
    if (flags !== null) {
      at += flags[0].length;
      continue;
    }
    const quoted = /^\\Q(.*?)(?:\\E|$)/s.exec(rest);
    if (quoted !== null) {
      for (const _ of quoted[1] ?? '') atom(1);
      at += quoted[0].length;
      continue;
    }
    // Escapes and classes are one instruction each.
    const single = /^(?:\\(?:[pPx]\{[^}]*\}|[\s\S])|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\[\s\S]|[^\]\\])*\])/.exec(
      rest,
    );
    const character = rest.slice(0, 1);
    if (single !== null) atom(2);
    else if (character === '(') {
      outer.push(group);
      // Its begin, its end, and what stands for nothing when it is empty.
      group = { sum: 3, last: 0 };
    } else if (character === ')') {
      const size = group.sum + group.last;
      group = outer.pop() ?? { sum: 0, last: 0 };
      atom(size);
    } else if ('*+?'.includes(character)) group.last += 2;
    else if (character === '|') atom(2);
    else atom(1);
    at += single?.[0].length ?? 1;
  }
  return outer.reduce((sum, each) => sum + each.sum + each.last, group.sum + group.last);
}
