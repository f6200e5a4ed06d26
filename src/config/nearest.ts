/** Steps from one text to another: a letter put in, left out, changed, or two neighbours swapped. */
export function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1])
        best = Math.min(best, (before[column - 2] ?? 0) + 1);
      current.push(best);
    }
    before = last;
    last = current;
  }
  return last[to.length] ?? 0;
}

const longest = 100;

/** The most similar of some names, if one is similar enough to be meant. Case does not count. */
export function nearest(written: string, names: Iterable<string>): string | undefined {
  if (written.length > longest) return undefined;
  const text = written.toLowerCase();
  // A short name has few letters to be wrong in.
  let limit = Math.max(1, Math.floor(written.length / 3)) + 1;
  let found: string | undefined;
  for (const name of names) {
    if (Math.abs(name.length - text.length) >= limit) continue;
    const distance = editDistance(text, name.toLowerCase());
    if (distance < limit) {
      limit = distance;
      found = name;
    }
  }
  return found;
}
