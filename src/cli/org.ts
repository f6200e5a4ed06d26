import { type ExitStatus, exitStatus } from './cli-error.ts';
import { connect, type ServerFlags } from './command.ts';
import { formatWhen } from './format.ts';
import { listAll } from './list-all.ts';
import { printTable } from './print-table.ts';
import { printLine, type Terminal } from './terminal.ts';

interface OrganizationView {
  readonly name: string;
  readonly email: string | null;
  readonly created: string;
}

interface MemberView {
  readonly name: string;
  readonly teams: readonly { readonly name: string }[];
}

interface TeamView {
  readonly name: string;
  readonly role: string;
  readonly description: string;
  readonly member_count: number;
  readonly repo_count: number;
}

export interface OrgCreateFlags extends ServerFlags {
  readonly email?: string;
}

export interface OrgTeamFlags extends ServerFlags {
  readonly role?: string;
  readonly description?: string;
  readonly delete?: boolean;
}

export interface OrgMemberFlags extends ServerFlags {
  readonly team: string;
}

const path = '/api/v1/organization';
const pathOf = (name: string) => `${path}/${encodeURIComponent(name)}`;
const teamPath = (name: string, team: string) => `${pathOf(name)}/team/${encodeURIComponent(team)}`;

export async function orgCreate(
  terminal: Terminal,
  name: string,
  { email, ...flags }: OrgCreateFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const made = await client.post<OrganizationView>(path, { name, ...(email === undefined ? {} : { email }) });
  say(terminal, flags, made, `Made the organization ${name}; you administer it, in its team owners`);
  return exitStatus.ok;
}

export async function orgList(terminal: Terminal, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const found = await listAll(client, path, (answer) => answer.organizations as OrganizationView[]);
  printTable(terminal, found, {
    json: flags.json === true,
    empty: 'You are in no organization. Make one with: slipway org create NAME',
    head: ['NAME', 'CREATED', 'EMAIL'],
    row: ({ name, created, email }) => [name, formatWhen(created), email ?? ''],
  });
  return exitStatus.ok;
}

export async function orgDelete(terminal: Terminal, name: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  await client.delete(pathOf(name));
  say(terminal, flags, { deleted: name }, `Deleted ${name}`);
  return exitStatus.ok;
}

export async function orgMembers(terminal: Terminal, name: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const found = await listAll(client, `${pathOf(name)}/members`, (answer) => answer.members as MemberView[]);
  printTable(terminal, found, {
    json: flags.json === true,
    empty: `${name} has no members.`,
    head: ['NAME', 'TEAMS'],
    row: (member) => [member.name, member.teams.map((team) => team.name).join(', ')],
  });
  return exitStatus.ok;
}

export async function orgTeams(terminal: Terminal, name: string, flags: ServerFlags): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const { teams } = await client.get<{ teams: Record<string, TeamView> }>(pathOf(name));
  printTable(terminal, Object.values(teams), {
    json: flags.json === true,
    empty: `${name} has no teams.`,
    head: ['TEAM', 'ROLE', 'MEMBERS', 'REPOSITORIES', 'DESCRIPTION'],
    row: (team) => [
      team.name,
      team.role,
      String(team.member_count),
      String(team.repo_count),
      team.description,
    ],
  });
  return exitStatus.ok;
}

/** Makes, changes or deletes a team. */
export async function orgTeam(
  terminal: Terminal,
  name: string,
  team: string,
  { role, description, delete: remove, ...flags }: OrgTeamFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  if (remove) {
    await client.delete(teamPath(name, team));
    say(terminal, flags, { deleted: team }, `Deleted the team ${team} of ${name}`);
    return exitStatus.ok;
  }
  const set = await client.put<TeamView>(teamPath(name, team), {
    ...(role === undefined ? {} : { role }),
    ...(description === undefined ? {} : { description }),
  });
  say(terminal, flags, set, `The team ${team} of ${name} has the role ${set.role}`);
  return exitStatus.ok;
}

export async function orgAdd(
  terminal: Terminal,
  name: string,
  member: string,
  { team, ...flags }: OrgMemberFlags,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const added = await client.put(`${teamPath(name, team)}/members/${encodeURIComponent(member)}`, undefined);
  say(terminal, flags, added, `${member} is in the team ${team} of ${name}`);
  return exitStatus.ok;
}

/** Out of one team, or out of all. */
export async function orgRemove(
  terminal: Terminal,
  name: string,
  member: string,
  { team, ...flags }: ServerFlags & Partial<OrgMemberFlags>,
): Promise<ExitStatus> {
  const { client } = await connect(terminal, flags);
  const from = team === undefined ? pathOf(name) : teamPath(name, team);
  await client.delete(`${from}/members/${encodeURIComponent(member)}`);
  const where = team === undefined ? name : `the team ${team} of ${name}`;
  say(terminal, flags, { removed: member }, `${member} is no longer in ${where}`);
  return exitStatus.ok;
}

function say(terminal: Terminal, flags: ServerFlags, answer: unknown, line: string): void {
  printLine(terminal.stdout, flags.json ? JSON.stringify(answer) : line);
}
