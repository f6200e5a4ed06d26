import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { CliError } from './cli-error.ts';

/** `NAME=value` pairs; a name alone is refused, because the server does not see this machine's environment. */
export function parsePairs(flag: string, pairs: readonly string[] | undefined): Record<string, string> {
  const found: [string, string][] = [];
  for (const pair of pairs ?? []) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new CliError('usage', `${flag} ${pair}: give it as name=value`);
    found.push([pair.slice(0, equals), pair.slice(equals + 1)]);
  }
  return Object.fromEntries(found);
}

/** `id=ID,src=FILE` as in `docker build --secret`, relative to `cwd`; the values are base64. */
export async function readSecrets(
  cwd: string,
  specs: readonly string[] | undefined,
): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for (const spec of specs ?? []) {
    const fields = new Map(
      spec.split(',').map((field) => {
        const [name = '', ...value] = field.split('=');
        return [name, value.join('=')];
      }),
    );
    const id = fields.get('id');
    const file = fields.get('src') ?? fields.get('source');
    if (!id || !file) throw new CliError('usage', `--secret ${spec}: give it as id=ID,src=FILE`);
    try {
      out[id] = (await readFile(resolve(cwd, file))).toString('base64');
    } catch (cause) {
      throw new CliError('local', `Cannot read the secret file ${file}: ${messageOf(cause)}`, { cause });
    }
  }
  return out;
}

/** The fields of a request's `git` that let the server in; keys and tokens come from files, where nobody else sees them. */
export async function readGitAccess(
  cwd: string,
  flags: {
    readonly gitKey?: string;
    readonly gitTokenFile?: string;
    readonly gitUser?: string;
    readonly gitLfs?: boolean;
  },
): Promise<Record<string, unknown>> {
  const read = async (what: string, file: string) => await readSecretText(cwd, what, file);
  const { gitKey, gitTokenFile, gitUser, gitLfs } = flags;
  return {
    ...(gitKey === undefined ? {} : { private_key: await read('private key', gitKey) }),
    ...(gitTokenFile === undefined ? {} : { token: (await read('token', gitTokenFile)).trim() }),
    ...(gitUser === undefined ? {} : { username: gitUser }),
    ...(gitLfs === true ? { lfs: true } : {}),
  };
}

/** The text of a file that has a key or a token in it. Throws `local`. */
export async function readSecretText(cwd: string, what: string, file: string): Promise<string> {
  try {
    return await readFile(resolve(cwd, file), 'utf8');
  } catch (cause) {
    throw new CliError('local', `Cannot read the ${what} in ${file}: ${messageOf(cause)}`, { cause });
  }
}
