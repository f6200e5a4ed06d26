import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load-config.ts';
import type { ProcessEnvironment } from './environment.ts';

/** The configuration of a file with what the environment puts over it. Throws ConfigError. */
export function readConfig(
  environment: ProcessEnvironment,
  file: string,
  warn?: (line: string) => void,
): Config {
  return loadConfig(
    {
      file,
      environment: environment.variables,
      dataFolder: join(environment.dataHome, 'slipway'),
    },
    warn,
  );
}
