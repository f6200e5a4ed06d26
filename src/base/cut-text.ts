/**
 * A text that any database takes, and no longer than `longest` characters: no zero byte, and no half of a pair, neither one
 * that came in nor one that cutting made.
 */
export function cutText(text: string, longest: number): string {
  const cut = text.slice(0, longest);
  const half = cut.length < text.length && /[\uD800-\uDBFF]$/.test(cut) && isLow(text.charCodeAt(longest));
  return storableText(half ? cut.slice(0, -1) : cut);
}

/** The same without a limit. PostgreSQL takes neither a zero byte in a text nor half of a pair. */
export function storableText(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}').toWellFormed();
}

/** Whether a text is stored as it is. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function isLow(code: number): boolean {
  return code >= 0xdc00 && code <= 0xdfff;
}
