import type { Origin } from './config-node.ts';

/**
 * - unreadable: a file cannot be read
 * - encoding: the file is not UTF-8 text
 * - syntax: the file is not the YAML that is understood here
 * - unknown-key: nobody knows this key; most often a slip of the keyboard
 * - missing-key: something needed is not there
 * - wrong-type: a list where text is expected, and the like
 * - not-allowed: of the right type, but outside of what is allowed
 * - duplicate: what must be unique is there twice
 * - contradiction: two settings exclude each other, or one needs another
 */
export type ConfigFaultCode =
  | 'unreadable'
  | 'encoding'
  | 'syntax'
  | 'unknown-key'
  | 'missing-key'
  | 'wrong-type'
  | 'not-allowed'
  | 'duplicate'
  | 'contradiction';

export interface ConfigFault {
  readonly code: ConfigFaultCode;
  /** Of the key; empty: of the whole file. */
  readonly path: string;
  /** Undefined when it is of a whole file. */
  readonly origin: Origin | undefined;
  /** What is wrong, with the path and what to write instead; never a secret. */
  readonly message: string;
  /** As written, for one value; secrets are masked. */
  readonly value?: string;
  readonly allowed?: string;
  /** The known key or value that is most like what was written. */
  readonly nearest?: string;
}

/** Collects everything that is wrong, so that all of it can be told at once. */
export class FaultList {
  readonly #faults: ConfigFault[] = [];
  readonly #seen = new Set<string>();

  add(fault: ConfigFault): void {
    const identity = `${fault.path}\n${fault.message}`;
    if (this.#seen.has(identity)) return;
    this.#seen.add(identity);
    this.#faults.push(fault);
  }

  get empty(): boolean {
    return this.#faults.length === 0;
  }

  /** In the order of the file; what came from the environment stands behind it. */
  sorted(): readonly ConfigFault[] {
    const place = ({ origin }: ConfigFault) => {
      if (origin === undefined) return 0;
      return origin.kind === 'file' ? origin.line * 100_000 + origin.column : Number.POSITIVE_INFINITY;
    };
    return this.#faults
      .map((fault, index) => ({ fault, index }))
      .sort((a, b) => {
        const [left, right] = [place(a.fault), place(b.fault)];
        return left === right ? a.index - b.index : left - right;
      })
      .map(({ fault }) => fault);
  }
}
