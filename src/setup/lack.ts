import { SetupError, type SetupErrorCode } from './setup-error.ts';

/** Something that a machine lacks. */
export interface Lack {
  readonly code: SetupErrorCode;
  /** One or more sentences: what is missing, and what for. */
  readonly what: string;
  /** The exact command that mends it. */
  readonly mend: string;
}

/** `lead`: what stands before the command. */
export function lackError({ code, what, mend }: Lack, lead = 'Mend it with:'): SetupError {
  return new SetupError(code, `${what} ${lead} ${mend}`);
}
