import { AccountError } from '../account/account-error.ts';
import { CliError } from '../cli/cli-error.ts';
import { ConfigError } from '../config/config-error.ts';
import { TlsFilesError } from '../rpc/tls-files.ts';

/** Runs a command of an operator. What only the operator can mend ends it as wrong arguments do. */
export async function asOperator<Result>(command: () => Promise<Result>): Promise<Result> {
  try {
    return await command();
  } catch (error) {
    if (error instanceof ConfigError || error instanceof TlsFilesError || error instanceof AccountError)
      throw new CliError('usage', error.message, { cause: error });
    throw error;
  }
}
