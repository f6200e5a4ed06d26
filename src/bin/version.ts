import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The version of Slipway that is installed in a folder. */
export async function versionOf(installation: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(installation, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return version;
}
