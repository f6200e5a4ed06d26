import { isAscii } from 'node:buffer';
import type { LogPiece } from './log-chunk.ts';

const newline = 0x0a;

/**
 * The entries of pieces as the elements of a JSON array, without its brackets: what `JSON.stringify` makes of
 * `entriesOf`, but from whole runs of lines at once. A following reader gets every line of a build this way, so it
 * must not cost two objects a line.
 */
export function jsonOf(pieces: readonly LogPiece[]): string {
  return pieces
    .map((piece) => {
      if (piece.kind === 'entry') return JSON.stringify(piece.entry);
      const { text, time, type, partial } = piece.run;
      const datetime = new Date(time).toISOString();
      const middle = type === undefined ? '"' : `","type":"${type}"`;
      const close = `${middle},"data":{"datetime":"${datetime}"}}`;
      const last = partial === true ? `${middle},"data":{"datetime":"${datetime}","partial":true}}` : close;
      const lines = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
      return `${open}${splitInJson(lines, `${close},${open}`)}${last}`;
    })
    .join(',');
}

const open = '{"message":"';

/** The inside of the JSON string of `bytes`, with `between` in place of each newline. */
function splitInJson(bytes: Buffer, between: string): string {
  const ascii = isAscii(bytes);
  const text = ascii ? bytes.toString('latin1') : bytes.toString('utf8');
  if (ascii && !escaped.test(text)) return text.replaceAll('\n', between);
  const json = JSON.stringify(text).slice(1, -1);
  // Without a backslash in the text every `\n` stands for a newline; with one, `\\n` may be a backslash and an n.
  return text.includes('\\')
    ? json.replace(/\\./g, (sequence) => (sequence === '\\n' ? between : sequence))
    : json.replaceAll('\\n', between);
}

/** What JSON writes in another way, but for the newline. */
const escaped = /["\\\x00-\x09\x0b-\x1f]/;

/** The pieces without their first `count` entries. */
export function dropEntries(pieces: readonly LogPiece[], count: number): readonly LogPiece[] {
  let left = count;
  const rest: LogPiece[] = [];
  for (const piece of pieces) {
    const entries = piece.kind === 'entry' ? 1 : piece.run.count;
    if (left >= entries) {
      left -= entries;
      continue;
    }
    if (piece.kind === 'entry' || left === 0) rest.push(piece);
    else {
      const { text } = piece.run;
      let start = 0;
      for (let line = 0; line < left; line += 1) start = text.indexOf(newline, start) + 1;
      rest.push({
        kind: 'lines',
        run: { ...piece.run, text: text.subarray(start), count: entries - left },
      });
    }
    left = 0;
  }
  return rest;
}
