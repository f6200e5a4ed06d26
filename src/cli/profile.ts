import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { CliError } from './cli-error.ts';
import type { Terminal } from './terminal.ts';

/** The servers this person is logged in to. The file is readable by its owner only: it holds tokens. */
export interface Profile {
  /** Base URL of the server commands talk to unless told otherwise. */
  readonly current?: string;
  readonly servers: Readonly<Record<string, { readonly username: string; readonly token: string }>>;
}

export async function readProfile(file: string): Promise<Profile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { servers: {} };
    throw new CliError('local', `Cannot read the profile ${file}: ${messageOf(cause)}`, { cause });
  }
  const profile = parseProfile(text);
  if (profile === undefined)
    throw new CliError('local', `The profile ${file} is damaged. Delete it and run: slipway login`);
  return profile;
}

function parseProfile(text: string): Profile | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(parsed)) return undefined;
  const { current, servers = {} } = parsed;
  if ((current !== undefined && typeof current !== 'string') || !isRecord(servers)) return undefined;
  const logins = Object.entries(servers).flatMap(([server, login]) =>
    isRecord(login) && typeof login.username === 'string' && typeof login.token === 'string'
      ? [[server, { username: login.username, token: login.token }] as const]
      : [],
  );
  if (logins.length < Object.keys(servers).length) return undefined;
  return { ...(current === undefined ? {} : { current }), servers: Object.fromEntries(logins) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Adds a login and makes it the current one. */
export async function writeLogin(
  file: string,
  server: string,
  login: { readonly username: string; readonly token: string },
): Promise<void> {
  const before = await readProfile(file);
  const profile: Profile = { current: server, servers: { ...before.servers, [server]: login } };
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    // A left-over of a process with the same id may be readable for others.
    await rm(temporary, { force: true });
    await writeFile(temporary, `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
    await rename(temporary, file);
  } catch (cause) {
    throw new CliError('local', `Cannot write the profile ${file}: ${messageOf(cause)}`, { cause });
  }
}

/** The origin of a server's address; a scheme may be left out. */
export function normalizeServer(text: string): string {
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(withScheme);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new CliError('usage', `"${text}" is not a server address. Give one like http://127.0.0.1:8080`);
  return url.origin;
}

export interface Login {
  readonly server: string;
  readonly token: string;
  /** Known when it comes from the profile. */
  readonly username?: string;
}

/** Which server and token a command uses: flags, then environment (an empty variable is none), then profile. */
export async function resolveLogin(terminal: Terminal, serverFlag: string | undefined): Promise<Login> {
  const profile = await readProfile(terminal.profileFile);
  const chosen = serverFlag ?? (terminal.server || profile.current);
  if (chosen === undefined)
    throw new CliError(
      'not-logged-in',
      'No server is known. Start one with "slipway up", or log in: slipway login --server http://HOST:8080',
    );
  const server = normalizeServer(chosen);
  const known = profile.servers[server];
  const token = terminal.token || known?.token;
  if (token === undefined)
    throw new CliError(
      'not-logged-in',
      `You are not logged in to ${server}. Run: slipway login --server ${server}`,
    );
  return { server, token, ...(known && !terminal.token ? { username: known.username } : {}) };
}
