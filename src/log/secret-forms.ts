/** Anything shorter would mask ordinary words, and could be guessed anyway. */
export const shortestSecret = 3;
/** Lines and encodings of a secret shorter than this are left: they match too much. */
const shortestPart = 8;

/**
 * The byte strings that give a secret away: itself, without surrounding white space, each line of it, and what
 * base64, URL encoding and JSON make of it. Base64 of a longer text that holds the secret (`user:password`) is found
 * too: its inner characters depend only on the secret and on its offset modulo 3.
 */
export function secretForms(secret: Uint8Array): Buffer[] {
  const whole = Buffer.from(secret);
  const forms = new Map<string, Buffer>();
  const add = (form: Buffer, least: number): void => {
    if (form.length >= least) forms.set(form.toString('latin1'), form);
  };
  const trimmed = trim(whole);
  if (trimmed.length < shortestSecret) return [];
  add(whole, shortestSecret);
  add(trimmed, shortestSecret);
  for (const line of lines(trimmed)) add(trim(line), shortestPart);
  for (const bytes of [whole, trimmed]) {
    for (const form of base64Forms(bytes)) add(form, shortestPart);
    add(urlEncoded(bytes, false), shortestSecret);
    add(urlEncoded(bytes, true), shortestSecret);
    add(jsonEscaped(bytes), shortestSecret);
  }
  return [...forms.values()];
}

function trim(bytes: Buffer): Buffer {
  let start = 0;
  let end = bytes.length;
  while (start < end && isSpace(bytes[start])) start++;
  while (end > start && isSpace(bytes[end - 1])) end--;
  return bytes.subarray(start, end);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}

function lines(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let from = 0;
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
    found.push(bytes.subarray(from, end));
    from = end + 1;
  }
  if (from > 0) found.push(bytes.subarray(from));
  return found;
}

function base64Forms(bytes: Buffer): Buffer[] {
  const texts: string[] = [];
  for (const offset of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    // Characters that also hold bits of what stands before or behind the secret.
    const first = [0, 2, 3][offset] ?? 0;
    const shared = (bytes.length + offset) % 3 === 0 ? 0 : 1;
    texts.push(text.slice(first, text.length - shared));
  }
  return texts.flatMap((text) => [
    Buffer.from(text, 'latin1'),
    Buffer.from(text.replaceAll('+', '-').replaceAll('/', '_'), 'latin1'),
  ]);
}

/** Byte by byte, so that a secret that is not UTF-8 has a form too. */
function urlEncoded(bytes: Buffer, lowerCase: boolean): Buffer {
  let text = '';
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    if (/[A-Za-z0-9_.~-]/.test(char)) text += char;
    else {
      const hex = byte.toString(16).padStart(2, '0');
      text += `%${lowerCase ? hex : hex.toUpperCase()}`;
    }
  }
  return Buffer.from(text, 'latin1');
}

function jsonEscaped(bytes: Buffer): Buffer {
  return Buffer.from(JSON.stringify(bytes.toString('utf8')).slice(1, -1), 'utf8');
}
