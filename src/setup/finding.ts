/** One thing that was looked at. `missing`: nothing works without it; `warning`: it works, but worse. */
export interface Finding {
  readonly name: string;
  readonly status: 'ok' | 'warning' | 'missing';
  /** What was found, or what is missing and what for. */
  readonly what: string;
  /** The exact command that mends it, where there is one. */
  readonly mend?: string;
}

export const ok = (name: string, what: string): Finding => ({ name, status: 'ok', what });

export const warning = (name: string, what: string, mend?: string): Finding => ({
  name,
  status: 'warning',
  what,
  ...(mend === undefined ? {} : { mend }),
});

export const missing = (name: string, what: string, mend?: string): Finding => ({
  name,
  status: 'missing',
  what,
  ...(mend === undefined ? {} : { mend }),
});
