import type { IncomingMessage } from 'node:http';

/** An answer that fits into memory: an error, or the result of something we do in place of Google. */
export interface Answer {
  readonly status: number;
  readonly body: string;
}

const head = '<?xml version="1.0" encoding="UTF-8"?>\n';
const longest = 64 * 1024;

export function refusal(status: number, code: string, message: string): Answer {
  return document(status, `<Error><Code>${code}</Code><Message>${escapeXml(message)}</Message></Error>`);
}

export function document(status: number, body: string): Answer {
  return { status, body: `${head}${body}` };
}

/** What Google answered, up to 64 KiB, which no answer that is read so comes near. */
export async function readAnswer(message: IncomingMessage): Promise<Answer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of message as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > longest) break;
    pieces.push(piece);
  }
  return { status: message.statusCode ?? 502, body: Buffer.concat(pieces).toString('utf8') };
}

export function isFine({ status }: Answer): boolean {
  return status >= 200 && status < 300;
}

/** The code of an error of S3, like `NoSuchKey`. */
export function errorCode({ body }: Answer): string | undefined {
  return /<Code>([A-Za-z]+)<\/Code>/.exec(body)?.[1];
}

export function escapeXml(text: string): string {
  return text.replace(/[<>&"'\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

export function unescapeXml(text: string): string {
  return text.replace(/&(?:#(\d+)|#x([0-9a-fA-F]+)|([a-z]+));/g, (whole, decimal, hexadecimal, name) => {
    if (name !== undefined) return named[name] ?? whole;
    const point = decimal === undefined ? Number.parseInt(hexadecimal, 16) : Number.parseInt(decimal, 10);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}
