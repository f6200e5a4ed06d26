import { SourceError } from './source-error.ts';

/** How much a source may unpack to. */
export interface SourceLimits {
  /** Bytes of all files. */
  readonly maxBytes: number;
  /** Files, folders and links, folders that are only implied included. */
  readonly maxEntries: number;
  /** Unpacked bytes per packed byte; looked at once more than `ratioFrom` bytes are unpacked. */
  readonly maxRatio: number;
  readonly ratioFrom: number;
}

export const defaultSourceLimits: SourceLimits = {
  maxBytes: 10 * 1024 ** 3,
  maxEntries: 500_000,
  maxRatio: 250,
  ratioFrom: 256 * 1024 ** 2,
};

/** Counts what is unpacked and throws SourceError `sourcetoolarge` at the first byte or member too many. */
export class SourceBudget {
  readonly limits: SourceLimits;
  #bytes = 0;
  #entries = 0;

  constructor(limits: SourceLimits) {
    this.limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  addEntry(): void {
    this.#entries++;
    if (this.#entries > this.limits.maxEntries) {
      throw new SourceError(
        'sourcetoolarge',
        `The source has more than ${this.limits.maxEntries} files and folders, the most that is allowed. Leave out what the build does not need.`,
      );
    }
  }

  addBytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.limits.maxBytes) {
      throw new SourceError(
        'sourcetoolarge',
        `The source unpacks to more than ${this.limits.maxBytes} bytes, the most that is allowed. Leave out what the build does not need.`,
      );
    }
  }

  /** `unpacked` counts everything that came out of the packed bytes, an archive's own padding included. */
  checkRatio(packed: number, unpacked: number): void {
    const { maxRatio, ratioFrom } = this.limits;
    if (unpacked > ratioFrom && unpacked > packed * maxRatio) {
      throw new SourceError(
        'sourcetoolarge',
        `The archive unpacks to more than ${maxRatio} times its size, as only archives made to fill a disk do. Pack the files anew.`,
      );
    }
  }
}
