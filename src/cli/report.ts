import type { ExitStatus } from './cli-error.ts';

/** A running command reports its exit status here; the composition root ends the process with it. */
export type Report = (status: ExitStatus) => void;
