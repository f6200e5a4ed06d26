import type { Instruction } from '../../context/dockerfile-instructions.ts';

/**
 * The text up to the end of stage `target`, by name or number; undefined when that is the last stage already, or
 * there is no such stage. buildah puts `--label` on the last stage written, even when it builds another.
 */
export function cutAfterStage(
  { text, instructions }: { readonly text: string; readonly instructions: readonly Instruction[] },
  target: string,
): string | undefined {
  const stages = instructions.filter(({ keyword }) => keyword.toUpperCase() === 'FROM');
  // buildah takes the first stage of a name, and prefers names to numbers.
  const named = stages.findIndex(({ rest }) => stageName(rest) === target.toLowerCase());
  const place = named >= 0 ? named : /^\d{1,6}$/.test(target) ? Number(target) : -1;
  const following = place < 0 ? undefined : stages[place + 1];
  if (following === undefined) return undefined;
  return text
    .split('\n')
    .slice(0, following.line - 1)
    .join('\n');
}

/** The name FROM gives its stage, in lower case. `rest` is what follows FROM. */
export function stageName(rest: string): string | undefined {
  return /\sAS\s+(\S+)$/i.exec(rest.slice(-300))?.[1]?.toLowerCase();
}
