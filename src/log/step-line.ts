/**
 * Lines by which a build engine announces a step: `Step 4/13 : RUN …`, `STEP 2/5: COPY …`, `[1/2] STEP 2/5: …`,
 * `#7 [2/4] RUN …`, `#7 [build 2/4] RUN …`.
 */
const pattern =
  /^(?:Step \d+\/\d+ :|STEP \d+(?:\/\d+)?:|\[\d+\/\d+\] STEP \d+(?:\/\d+)?:|#\d+ \[[^\]\n]*\d+\/\d+\])/;

/** Bytes of a line that are looked at. */
const looked = 160;

/** Whether a line starts a step. It is `bytes` from `start` to before `end`. */
export function startsStep(bytes: Buffer, start: number, end: number): boolean {
  const first = bytes[start];
  // 'S', '#', '[': nearly every other line is told from its first byte.
  if (first !== 0x53 && first !== 0x23 && first !== 0x5b) return false;
  const second = bytes[start + 1] ?? 0;
  // 't', 'T' or a digit: many programs begin lines with a bracket.
  if (second !== 0x74 && second !== 0x54 && (second < 0x30 || second > 0x39)) return false;
  return pattern.test(bytes.toString('latin1', start, Math.min(end, start + looked)));
}
