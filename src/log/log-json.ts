import { isAscii } from 'node:buffer';
import type { LogPiece } from './log-chunk.ts';
import type { LogRun } from './log-store.ts';

const newline = 0x0a;

/** Lines that JSON writes as they are, and what stands between two of them. */
interface PlainLines {
  readonly bytes: Buffer;
  readonly count: number;
  readonly between: Buffer;
}

/**
 * `before`, the entries of pieces as the elements of a JSON array, without its brackets, and `after`: what
 * `JSON.stringify` makes of `entriesOf`, but from whole runs of lines at once. A following reader gets every line of a
 * build this way, so a line must cost neither objects nor strings.
 */
export function jsonOf(pieces: readonly LogPiece[], before: string, after: string): Buffer {
  const parts: (string | PlainLines)[] = [before];
  pieces.forEach((piece, index) => {
    if (index > 0) parts.push(',');
    if (piece.kind === 'entry') parts.push(JSON.stringify(piece.entry));
    else parts.push(...linesInJson(piece.run));
  });
  parts.push(after);
  return written(parts);
}

const open = '{"message":"';

function linesInJson({ text, count, time, type, partial }: LogRun): (string | PlainLines)[] {
  const datetime = new Date(time).toISOString();
  const middle = type === undefined ? '"' : `","type":"${type}"`;
  const close = `${middle},"data":{"datetime":"${datetime}"}}`;
  const last = partial === true ? `${middle},"data":{"datetime":"${datetime}","partial":true}}` : close;
  const between = `${close},${open}`;
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  if (isAscii(bytes) && !escaped.test(bytes.toString('latin1')))
    return [open, { bytes, count, between: Buffer.from(between) }, last];
  return [open, splitInJson(bytes.toString('utf8'), between), last];
}

/** What JSON writes in another way, but for the newline. */
const escaped = /["\\\x00-\x09\x0b-\x1f]/;

/** The inside of the JSON string of `text`, with `between` in place of each newline. */
function splitInJson(text: string, between: string): string {
  const json = JSON.stringify(text).slice(1, -1);
  // Without a backslash in the text every `\n` stands for a newline; with one, `\\n` may be a backslash and an n.
  return text.includes('\\')
    ? json.replace(/\\./g, (sequence) => (sequence === '\\n' ? between : sequence))
    : json.replaceAll('\\n', between);
}

function written(parts: readonly (string | PlainLines)[]): Buffer {
  const sizes = parts.map((part) =>
    typeof part === 'string'
      ? Buffer.byteLength(part)
      : part.bytes.length + (part.count - 1) * (part.between.length - 1),
  );
  const out = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const part of parts) {
    if (typeof part === 'string') {
      at += out.write(part, at);
      continue;
    }
    const { bytes, between } = part;
    let from = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, from)) {
      at += bytes.copy(out, at, from, end);
      at += between.copy(out, at);
      from = end + 1;
    }
    at += bytes.copy(out, at, from);
  }
  return out;
}

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
