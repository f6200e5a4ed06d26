/**
 * Text of a build log is hostile: an escape sequence could rewrite the screen, set the window's title or answer as if
 * typed. On a terminal only colours (SGR, `ESC [ … m`) pass; every other control sequence and control character is
 * dropped. Into a pipe no sequence passes at all.
 */
const sequences =
  /\u001b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])|\u009b[0-?]*[ -/]*[@-~]/g;
const sgr = /^\u001b\[[0-9;:]*m$/;
const controls = /[\u0000-\u0008\u000b-\u001a\u001c-\u001f\u007f-\u009f]/g;

export function harmless(text: string, colours: boolean): string {
  let coloured = false;
  const kept = text
    .replace(controls, (control) => (control === '\u009b' ? control : ''))
    .replace(sequences, (sequence) => {
      if (!colours || !sgr.test(sequence)) return '';
      coloured = true;
      return sequence;
    })
    .replace(colours ? /\u001b(?!\[[0-9;:]*m)|\u009b/g : /[\u001b\u009b]/g, '');
  return coloured ? `${kept}\u001b[0m` : kept;
}
