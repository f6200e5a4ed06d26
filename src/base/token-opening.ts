/**
 * How the text of every JWT begins whose header has these members first, in this order: nobody else's tokens begin so when
 * one of them names a key. Whole groups of base64 only, for what follows may change the last one.
 */
export function tokenOpening(header: Readonly<Record<string, string>>): Buffer {
  const text = JSON.stringify(header).slice(0, -1);
  return Buffer.from(
    Buffer.from(text)
      .subarray(0, text.length - (text.length % 3))
      .toString('base64url'),
  );
}
