import { type ParsedConfig, parseConfig } from '../../src/config/parse-config.ts';

/** A configuration as if it were /etc/slipway/config.yaml on a machine that has two files: /run/secrets/key and /run/secrets/odd-key. */
export function parseText(
  text: string | Uint8Array,
  environment: Readonly<Record<string, string>> = {},
  certificateBesideFile = false,
): ParsedConfig {
  return parseConfig({
    bytes: typeof text === 'string' ? Buffer.from(text) : text,
    file: '/etc/slipway/config.yaml',
    certificateBesideFile,
    dataFolder: '/var/lib/slipway',
    environment,
    readFile: (path) => {
      if (path === '/run/secrets/key') return 'fedcba9876543210\n';
      if (path === '/run/secrets/odd-key') return '[odd, key: with, commas\n';
      throw new Error('ENOENT: no such file');
    },
  });
}
