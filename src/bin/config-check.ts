import { join } from 'node:path';
import { printLine, type Terminal } from '../cli/terminal.ts';
import { ConfigError } from '../config/config-error.ts';
import { inspectConfig } from '../config/load-config.ts';
import { formatReport, reportJson } from '../config/report.ts';
import type { ProcessEnvironment } from './environment.ts';

export interface ConfigCheckFlags {
  readonly json?: true;
}

/** Not the statuses of the other commands: a script has to tell a bad file from one that was not checked. */
const status = { inOrder: 0, faulty: 1, notChecked: 2 } as const;

/** `slipway config check`: everything that is wrong with a configuration, without starting anything. */
export function configCheck(
  environment: ProcessEnvironment,
  { stdout, stderr }: Terminal,
  file: string,
  { json }: ConfigCheckFlags,
): number {
  try {
    const parsed = inspectConfig({
      file,
      environment: environment.variables,
      dataFolder: join(environment.dataHome, 'slipway'),
    });
    if (json === true) printLine(stdout, JSON.stringify(reportJson(file, parsed), undefined, 2));
    else for (const line of formatReport(file, parsed)) printLine(stdout, line);
    return parsed.faults.length === 0 ? status.inOrder : status.faulty;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    printLine(stderr, `slipway: ${error.message}`);
    return status.notChecked;
  }
}
