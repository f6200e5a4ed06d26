/** Characters of a message that are kept. */
const longest = 2_000;
const mask = '(hidden)';

/** What looks like a secret wherever it stands: JSON web tokens, bearer tokens, passwords in URLs. */
const shapes: readonly (readonly [RegExp, string])[] = [
  [/eyJ[\w-]{6,}\.[\w-]+\.[\w-]*/g, mask],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${mask}`],
  [/(:\/\/[^\s/:@]*):[^\s/@]+@/g, `$1:${mask}@`],
];

/** The text without these secrets, and without what looks like one, for people to read. */
export function maskSecrets(text: string, secrets: readonly string[]): string {
  let masked = text;
  // The longest first: one may stand in another.
  for (const secret of [...secrets].sort((one, other) => other.length - one.length))
    if (secret.length >= 4) masked = masked.replaceAll(secret, mask);
  for (const [shape, instead] of shapes) masked = masked.replace(shape, instead);
  return masked.length > longest ? `${masked.slice(0, longest)}…` : masked;
}
