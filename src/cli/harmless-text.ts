/**
 * Text of a build log is hostile: an escape sequence could rewrite the screen, set the window's title or answer as if
 * typed. On a terminal only colours (SGR, `ESC [ … m`) pass; every other control sequence and every control character
 * but newline and tab is dropped. Into a pipe no sequence passes at all. A carriage return inside a line, by which
 * programs draw progress over what they wrote before, becomes a newline, so that nothing is hidden.
 *
 * One pass over the text: what is left after a removal is never read as a sequence again. No alternative reads over
 * the escape character that starts the next sequence, so the time is linear in the text.
 */
const special = new RegExp(
  [
    '(\\u001b\\[[0-9;:]{0,60}m)',
    // CSI, in seven and in eight bits
    '(?:\\u001b\\[|\\u009b)[0-?]*[ -/]*[@-~]',
    // strings with a terminator: OSC, DCS, SOS, PM, APC
    '(?:\\u001b[\\]PX^_]|[\\u0090\\u0098\\u009d-\\u009f])[^\\u0000-\\u001f\\u007f-\\u009f]*(?:\\u0007|\\u009c|\\u001b\\\\)',
    // every other escape sequence
    '\\u001b[ -/]*[0-~]',
    '(\\r(?![\\r\\n]|$))',
    '[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]',
  ].join('|'),
  'g',
);

export function harmless(text: string, colours: boolean): string {
  let coloured = false;
  const kept = text.replace(special, (_match, colour: string | undefined, lone: string | undefined) => {
    if (lone !== undefined) return '\n';
    if (colour === undefined || !colours) return '';
    coloured = true;
    return colour;
  });
  return coloured ? `${kept}\u001b[0m` : kept;
}
