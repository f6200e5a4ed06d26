/** What the worker of another system does for a Dockerfile of `workOf`. */
export type ReferenceStep =
  | { readonly kind: 'say'; readonly text: string }
  | { readonly kind: 'sleep'; readonly milliseconds: number }
  | { readonly kind: 'fail'; readonly text: string };

export interface ReferenceScript {
  readonly building: readonly ReferenceStep[];
  readonly pushing: readonly ReferenceStep[];
}

/** Reads the `#dummy` lines that `workOf` writes; others it leaves out. */
export function scriptOf(dockerfile: string): ReferenceScript {
  const building: ReferenceStep[] = [];
  const pushing: ReferenceStep[] = [];
  for (const line of dockerfile.split('\n')) {
    const [, push, verb = '', rest = ''] = /^#dummy (push )?(\S+) (.*)$/.exec(line) ?? [];
    const step = stepOf(verb, rest);
    if (step !== undefined) (push === undefined ? building : pushing).push(step);
  }
  return { building, pushing };
}

function stepOf(verb: string, rest: string): ReferenceStep | undefined {
  switch (verb) {
    case 'print':
      return { kind: 'say', text: rest };
    case 'sleep':
      return { kind: 'sleep', milliseconds: Number(rest) };
    case 'fail':
      // As its engine says it: the words that tell whose fault it is.
      return { kind: 'fail', text: `The command failed: ${rest}, it returned a non-zero code: 1` };
    default:
      return undefined;
  }
}
