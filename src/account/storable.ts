/** PostgreSQL takes no NUL in a text; no name has one, so such a text finds nothing either way. */
export function storable(text: string): string {
  return text.replaceAll('\0', '\u{FFFD}');
}
