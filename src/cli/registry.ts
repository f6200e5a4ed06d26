import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { messageOf } from '../base/coded-error.ts';
import { ask, readLine } from './ask.ts';
import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatTable, formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { printLine, type Terminal } from './terminal.ts';

export interface RegistryFlags extends ServerFlags {
  readonly host?: string;
  readonly prefix?: string;
  readonly username?: string;
  readonly passwordStdin?: boolean;
  readonly use?: readonly ('push' | 'pull')[];
  readonly insecure?: boolean;
  readonly ca?: string;
}

interface RegistryView {
  readonly name: string;
  readonly host: string;
  readonly prefix: string;
  readonly username: string;
  readonly use: readonly string[];
  readonly insecure: boolean;
  readonly ca: string | null;
  readonly changed: string;
}

/** Adds a registry to a namespace, if it accepts the credentials. */
export async function registryCreate(
  terminal: Terminal,
  text: string,
  given: RegistryFlags,
): Promise<ExitStatus> {
  const { host, username, passwordStdin, ...flags } = given;
  const { namespace, name } = parseKey(text);
  if (host === undefined || username === undefined)
    throw new CliError('usage', 'Give --host HOST[:PORT] and --username NAME');
  const password = passwordStdin
    ? await readLine(terminal)
    : await ask(terminal, `Password of ${username} at ${host}: `, true);
  if (password === undefined) return exitStatus.interrupted;
  const { client } = await connect(terminal, flags);
  const made = await client.post<RegistryView>(pathOf(namespace), {
    name,
    host,
    prefix: flags.prefix ?? '',
    username,
    password,
    use: flags.use ?? ['push', 'pull'],
    insecure: flags.insecure ?? false,
    ...(flags.ca === undefined ? {} : { ca: await readAuthorities(terminal, flags.ca) }),
  });
  const what = `Added ${namespace}/${name}: ${harmless(made.host, false)} accepts the credentials`;
  printLine(terminal.stdout, flags.json ? JSON.stringify(made) : what);
  return exitStatus.ok;
}

/** Changes what is given of a registry, if it accepts the credentials. */
export async function registryChange(
  terminal: Terminal,
  text: string,
  { passwordStdin, ...flags }: RegistryFlags,
): Promise<ExitStatus> {
  const { namespace, name } = parseKey(text);
  const { host, prefix, username, use, insecure, ca } = flags;
  if (!passwordStdin && [host, prefix, username, use, insecure, ca].every((given) => given === undefined))
    throw new CliError(
      'usage',
      `Nothing was given to change. Give e.g. --host or --password-stdin (see: slipway registry change --help), or try the credentials out with: slipway registry test ${text}`,
    );
  const password = passwordStdin ? await readLine(terminal) : undefined;
  const { client } = await connect(terminal, flags);
  const path = pathOf(namespace, name);
  const before = await client.get<RegistryView>(path);
  const changed = await client.put<RegistryView>(path, {
    host: flags.host ?? before.host,
    prefix: flags.prefix ?? before.prefix,
    username: flags.username ?? before.username,
    use: flags.use ?? before.use,
    insecure: flags.insecure ?? before.insecure,
    ca: flags.ca === undefined ? before.ca : await readAuthorities(terminal, flags.ca),
    ...(password === undefined ? {} : { password }),
  });
  const what = `Changed ${namespace}/${name}: ${harmless(changed.host, false)} accepts the credentials`;
  printLine(terminal.stdout, flags.json ? JSON.stringify(changed) : what);
  return exitStatus.ok;
}

export async function registryList(
  terminal: Terminal,
  namespace: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const { registries } = await client.get<{ registries: readonly RegistryView[] }>(pathOf(namespace));
  if (flags.json) printLine(terminal.stdout, JSON.stringify(registries, null, 2));
  else if (registries.length === 0)
    printLine(terminal.stdout, `${namespace} has no registries. Add one: slipway registry create --help`);
  else
    for (const line of formatTable([
      ['NAME', 'WHERE', 'USER', 'FOR'],
      ...registries.map((each) => [each.name, placeOf(each), harmless(each.username, false), useOf(each)]),
    ]))
      printLine(terminal.stdout, line);
  return exitStatus.ok;
}

export async function registryShow(
  terminal: Terminal,
  text: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { namespace, name } = parseKey(text);
  const { client } = await connect(terminal, flags);
  const found = await client.get<RegistryView>(pathOf(namespace, name));
  if (flags.json) printLine(terminal.stdout, JSON.stringify(found, null, 2));
  else
    for (const line of formatTable([
      ['registry', `${namespace}/${found.name}`],
      ['where', placeOf(found)],
      ['user', harmless(found.username, false)],
      ['for', useOf(found)],
      [
        'TLS',
        found.insecure ? 'no: plain HTTP' : found.ca === null ? 'yes' : 'yes, with its own authorities',
      ],
      ['changed', formatWhen(found.changed)],
    ]))
      printLine(terminal.stdout, line);
  return exitStatus.ok;
}

/** Exit status 1 when the registry does not accept the credentials. */
export async function registryTest(
  terminal: Terminal,
  text: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { namespace, name } = parseKey(text);
  const { client } = await connect(terminal, flags);
  const tested = await client.post<{ ok: boolean; problem: string | null; message: string | null }>(
    `${pathOf(namespace, name)}/test`,
    undefined,
  );
  const said = tested.ok
    ? `${namespace}/${name} works`
    : `${namespace}/${name}: ${tested.problem}. ${harmless(tested.message ?? '', false)}`;
  printLine(terminal.stdout, flags.json ? JSON.stringify(tested) : said);
  return tested.ok ? exitStatus.ok : exitStatus.userError;
}

export async function registryDelete(
  terminal: Terminal,
  text: string,
  flags: ServerFlags,
): Promise<ExitStatus> {
  const { namespace, name } = parseKey(text);
  const { client } = await connect(terminal, flags);
  await client.delete(pathOf(namespace, name));
  printLine(terminal.stdout, flags.json ? JSON.stringify({ deleted: text }) : `Deleted ${text}`);
  return exitStatus.ok;
}

function parseKey(text: string): { namespace: string; name: string } {
  const [namespace = '', name = '', ...rest] = text.split('/');
  if (namespace === '' || name === '' || rest.length > 0)
    throw new CliError('usage', `"${text}" names no registry. Write it like NAMESPACE/NAME`);
  return { namespace, name };
}

function pathOf(namespace: string, name?: string): string {
  const all = `/api/v1/organization/${encodeURIComponent(namespace)}/registries`;
  return name === undefined ? all : `${all}/${encodeURIComponent(name)}`;
}

const placeOf = ({ host, prefix }: RegistryView) =>
  harmless(prefix === '' ? host : `${host}/${prefix}`, false);
const useOf = ({ use }: RegistryView) => use.join(', ');

async function readAuthorities(terminal: Terminal, file: string): Promise<string> {
  return await readFile(resolve(terminal.cwd, file), 'utf8').catch((cause: unknown) => {
    throw new CliError(
      'usage',
      `The certificate authorities in ${file} cannot be read: ${messageOf(cause)}`,
      {
        cause,
      },
    );
  });
}
