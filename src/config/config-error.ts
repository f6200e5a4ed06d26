import { CodedError } from '../base/coded-error.ts';
import type { ConfigFault } from './config-fault.ts';

/**
 * - unreadable: the configuration file cannot be read
 * - faulty: it was read, and something in it, or in the environment, is wrong
 */
export type ConfigErrorCode = 'unreadable' | 'faulty';

export class ConfigError extends CodedError<ConfigErrorCode> {
  /** Everything that is wrong, in the order of the file. */
  readonly faults: readonly ConfigFault[];

  constructor(code: ConfigErrorCode, message: string, faults: readonly ConfigFault[] = [], cause?: unknown) {
    super(code, message, cause);
    this.faults = faults;
  }
}
