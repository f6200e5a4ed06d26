import { formatTable } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';

/** A list for people, or as JSON for programs. What stands in it came from others, so it is made harmless. */
export function printTable<T>(
  terminal: Terminal,
  items: readonly T[],
  {
    json,
    empty,
    head,
    row,
  }: {
    readonly json: boolean;
    readonly empty: string;
    readonly head: readonly string[];
    readonly row: (item: T) => readonly string[];
  },
): void {
  if (json) printLine(terminal.stdout, JSON.stringify(items, null, 2));
  else if (items.length === 0) printLine(terminal.stdout, empty);
  else
    for (const line of formatTable([
      head,
      ...items.map((item) => row(item).map((cell) => harmless(cell, false))),
    ]))
      printLine(terminal.stdout, line);
}
