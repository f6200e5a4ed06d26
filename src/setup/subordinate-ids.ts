/** A range of ids as in /etc/subuid and /proc/self/uid_map: `first` to `first + count - 1`. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

export interface SubordinateRange extends IdRange {
  /** An account's name, or its number in decimal. */
  readonly owner: string;
}

/** The size a rootless build needs: every id an image may use. */
export const rangeSize = 65_536;

/** Reads /etc/subuid or /etc/subgid. Lines that are not `owner:first:count` are none of ours and are skipped. */
export function parseSubordinateRanges(text: string): SubordinateRange[] {
  return text.split('\n').flatMap((line) => {
    const found = /^([^:]+):(\d+):(\d+)$/.exec(line.trim());
    return found === null
      ? []
      : [{ owner: found[1] ?? '', first: Number(found[2]), count: Number(found[3]) }];
  });
}

/** Reads /proc/self/uid_map: the ids that exist here at all (in a container perhaps few). */
export function parseIdMap(text: string): IdRange[] {
  return text.split('\n').flatMap((line) => {
    const found = /^\s*(\d+)\s+\d+\s+(\d+)\s*$/.exec(line);
    return found === null ? [] : [{ first: Number(found[1]), count: Number(found[2]) }];
  });
}

/** Whether the account has a range that is large enough. */
export function hasRange(ranges: readonly SubordinateRange[], name: string, uid: number): boolean {
  return ranges.some(({ owner, count }) => (owner === name || owner === `${uid}`) && count >= rangeSize);
}

/**
 * The lowest range of 65,536 ids, from 100,000 on, that touches none of `taken` and lies in one range of
 * `existing`; undefined when there is none. Debian gives ordinary users their ranges from 100,000 upwards too.
 */
export function freeRange(taken: readonly IdRange[], existing: readonly IdRange[]): IdRange | undefined {
  const limit = 2 ** 31;
  const starts = [
    100_000,
    ...taken.map(({ first, count }) => first + count),
    ...existing.map(({ first }) => first),
  ];
  return starts
    .filter((first) => first >= 100_000 && first + rangeSize <= limit)
    .sort((a, b) => a - b)
    .map((first) => ({ first, count: rangeSize }))
    .find(
      (range) =>
        taken.every(
          (other) => other.first + other.count <= range.first || range.first + rangeSize <= other.first,
        ) &&
        existing.some(
          (other) => other.first <= range.first && range.first + rangeSize <= other.first + other.count,
        ),
    );
}
