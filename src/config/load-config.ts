import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import type { Config } from './config.ts';
import { ConfigError } from './config-error.ts';
import { type ParsedConfig, parseConfig } from './parse-config.ts';
import { faultLines } from './report.ts';

export interface LoadOptions {
  /** Path of the configuration file. */
  readonly file: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Used when SLIPWAY.DATA_FOLDER is not set. */
  readonly dataFolder: string;
}

/** Reads and checks a configuration file. Throws ConfigError `unreadable`. */
export function inspectConfig({ file, environment, dataFolder }: LoadOptions): ParsedConfig {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    throw new ConfigError(
      'unreadable',
      `Cannot read the configuration ${file}: ${whyNot(cause)}.`,
      [],
      cause,
    );
  }
  const folder = dirname(resolve(file));
  return parseConfig({
    bytes,
    file: resolve(file),
    environment,
    dataFolder,
    readFile: (path) => readFileSync(path, 'utf8'),
    certificateBesideFile: isFile(join(folder, 'ssl.cert')) && isFile(join(folder, 'ssl.key')),
  });
}

/** For a server. Throws ConfigError `unreadable`, or `faulty` with everything that is wrong. */
export function loadConfig(options: LoadOptions, warn: (line: string) => void = () => {}): Config {
  const { config, faults, warnings } = inspectConfig(options);
  for (const { message } of warnings) warn(`Warning: ${message}`);
  if (config !== undefined) return config;
  throw new ConfigError(
    'faulty',
    [`${options.file} cannot be used:`, ...faultLines(options.file, faults)].join('\n'),
    faults,
  );
}

function whyNot(thrown: unknown): string {
  switch ((thrown as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'it is not there';
    case 'EACCES':
      return 'this user may not read it';
    case 'EISDIR':
      return 'it is a folder';
    default:
      return messageOf(thrown);
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}
