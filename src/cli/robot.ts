import { CliError, type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { parseExpiry } from './expiry.ts';
import { formatWhen } from './format.ts';
import { harmless } from './harmless-text.ts';
import { listAll } from './list-all.ts';
import { printTable } from './print-table.ts';
import { printLine, type Terminal } from './terminal.ts';

interface RobotView {
  readonly name: string;
  readonly description: string;
  readonly created: string;
  readonly last_accessed: string | null;
  readonly expires: string | null;
  /** Id of a personal token; absent: an older server. */
  readonly made_with?: string | null;
  readonly token?: string;
}

interface GrantView {
  readonly repository: { readonly namespace: string; readonly name: string };
  readonly role: string;
}

export interface RobotCreateFlags extends ServerFlags {
  readonly description?: string;
  readonly expires?: string;
}

export interface RobotListFlags extends ServerFlags {
  readonly namespace?: string;
}

/** Where a robot's resource is. Throws `usage`. */
function robotPath(text: string): string {
  const [namespace, short, ...rest] = text.split('+');
  if (namespace === undefined || short === undefined || namespace === '' || short === '' || rest.length > 0)
    throw new CliError(
      'usage',
      `"${text}" is not the name of a robot. Write it as namespace+name, e.g. team+ci`,
    );
  return `/api/v1/organization/${encodeURIComponent(namespace)}/robots/${encodeURIComponent(short)}`;
}

export async function robotCreate(
  terminal: Terminal,
  name: string,
  { description, expires, ...flags }: RobotCreateFlags,
  now: number,
): Promise<ExitStatus> {
  const path = robotPath(name);
  const fields = {
    ...(description === undefined ? {} : { description }),
    ...(expires === undefined ? {} : { expires: parseExpiry(expires, now) }),
  };
  const { client } = await connect(terminal, flags);
  printToken(terminal, await client.put<RobotView>(path, fields), flags);
  return exitStatus.ok;
}

export async function robotRegenerate(
  terminal: Terminal,
  name: string,
  { expires, ...flags }: Omit<RobotCreateFlags, 'description'>,
  now: number,
): Promise<ExitStatus> {
  const path = `${robotPath(name)}/regenerate`;
  const fields = expires === undefined ? {} : { expires: parseExpiry(expires, now) };
  const { client } = await connect(terminal, flags);
  printToken(terminal, await client.post<RobotView>(path, fields), flags);
  return exitStatus.ok;
}

export async function robotList(
  terminal: Terminal,
  { namespace, ...flags }: RobotListFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const path =
    namespace === undefined
      ? '/api/v1/user/robots'
      : `/api/v1/organization/${encodeURIComponent(namespace)}/robots`;
  const robots = await listAll(client, path, (answer) => answer.robots as RobotView[]);
  printTable(terminal, robots, {
    json: flags.json === true,
    empty: 'There are no robots. Make one with: slipway robot create NAMESPACE+NAME',
    head: ['NAME', 'CREATED', 'LAST USED', 'EXPIRES', 'DESCRIPTION'],
    row: (robot) => [
      robot.name,
      formatWhen(robot.created),
      robot.last_accessed === null ? 'never' : formatWhen(robot.last_accessed),
      robot.expires === null ? 'never' : formatWhen(robot.expires),
      robot.description,
    ],
  });
  return exitStatus.ok;
}

export async function robotShow(terminal: Terminal, name: string, flags: ServerFlags): Promise<ExitStatus> {
  const path = robotPath(name);
  const { client } = await connect(terminal, flags);
  const robot = await client.get<RobotView>(path);
  const permissions = await listAll(
    client,
    `${path}/permissions`,
    (answer) => answer.permissions as GrantView[],
  );
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify({ ...robot, permissions }, null, 2));
    return exitStatus.ok;
  }
  const when = (at: string | null) => (at === null ? 'never' : formatWhen(at));
  printLine(terminal.stdout, `robot        ${robot.name}`);
  if (robot.description !== '')
    printLine(terminal.stdout, `description  ${harmless(robot.description, false)}`);
  printLine(terminal.stdout, `created      ${formatWhen(robot.created)}`);
  printLine(terminal.stdout, `last used    ${when(robot.last_accessed)}`);
  printLine(terminal.stdout, `expires      ${when(robot.expires)}`);
  if (robot.made_with) printLine(terminal.stdout, `made with    the token ${robot.made_with}`);
  for (const { repository, role } of permissions)
    printLine(terminal.stdout, `may ${role.padEnd(8)} ${repository.namespace}/${repository.name}`);
  return exitStatus.ok;
}

export async function robotDelete(terminal: Terminal, name: string, flags: ServerFlags): Promise<ExitStatus> {
  const path = robotPath(name);
  const { client } = await connect(terminal, flags);
  await client.delete(path);
  printLine(terminal.stdout, flags.json ? JSON.stringify({ deleted: name }) : `Deleted ${name}`);
  return exitStatus.ok;
}

/** The token goes to standard output, alone on its line, so that a script can take it. */
function printToken(terminal: Terminal, robot: RobotView, flags: ServerFlags): void {
  if (flags.json) {
    printLine(terminal.stdout, JSON.stringify(robot));
    return;
  }
  printLine(terminal.stderr, `The token of ${robot.name}, shown only now:`);
  printLine(terminal.stdout, robot.token ?? '');
}
