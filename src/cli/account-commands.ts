import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ServerFlags } from './command.ts';
import type { OrgCreateFlags, OrgMemberFlags, OrgTeamFlags } from './org.ts';
import type { Report } from './report.ts';
import type { RobotCreateFlags, RobotListFlags } from './robot.ts';
import type { Terminal } from './terminal.ts';
import type { TokenCreateFlags } from './token.ts';
import type { UserCreateFlags, UserPasswordFlags } from './user.ts';

const scopes = ['repo:read', 'repo:write', 'repo:admin', 'org:admin', 'user:admin', 'super:user'];
const expires = ['--expires <time>', 'a span such as 30d, or a moment (default: never)'] as const;

function gather(value: string, before: readonly string[] | undefined): readonly string[] {
  if (!scopes.includes(value)) throw new InvalidArgumentError(`It must be one of ${scopes.join(', ')}.`);
  return [...(before ?? []), value];
}

/** The commands about people, robots and organizations. */
export function addAccountCommands(program: Command, terminal: Terminal, report: Report): void {
  addRobotCommands(
    group(program, 'robot', 'Manage robots: accounts for programs, such as team+ci'),
    terminal,
    report,
  );
  addTokenCommands(group(program, 'token', 'Manage your personal tokens'), terminal, report);
  addUserCommands(group(program, 'user', 'Manage users; for superusers'), terminal, report);
  addOrganizationCommands(
    group(program, 'org', 'Manage organizations: namespaces with teams'),
    terminal,
    report,
  );
}

function group(program: Command, name: string, description: string): Command {
  return program.command(name).description(description);
}

/** Every command that talks to a server has these two. */
function withServer(command: Command): Command {
  return command
    .addOption(new Option('--json', 'print JSON for programs'))
    .addOption(new Option('--server <url>', 'the Slipway server (default: the one you logged in to last)'));
}

function addRobotCommands(robot: Command, terminal: Terminal, report: Report): void {
  withServer(
    robot
      .command('create')
      .summary('Make a robot and print its token')
      .description(
        'Makes a robot and prints its token, only this once. It can do nothing until a repository or a team lets it:\n' +
          'PUT /api/v1/repository/NS/NAME/permissions/user/NAMESPACE+NAME, or slipway org add.',
      )
      .argument('<namespace+name>')
      .option('--description <text>', 'what it is for')
      .option(...expires),
  ).action(async (name: string, flags: RobotCreateFlags) =>
    report(await (await import('./robot.ts')).robotCreate(terminal, name, flags, Date.now())),
  );
  withServer(
    robot
      .command('list')
      .description('List robots')
      .option('--namespace <name>', 'of this namespace (default: your own)'),
  ).action(async (flags: RobotListFlags) =>
    report(await (await import('./robot.ts')).robotList(terminal, flags)),
  );
  withServer(
    robot.command('show').description('Show a robot and what it may do').argument('<namespace+name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./robot.ts')).robotShow(terminal, name, flags)),
  );
  withServer(
    robot
      .command('regenerate')
      .description('Make a new token for a robot; the one before is worth nothing at once')
      .argument('<namespace+name>')
      .option(...expires),
  ).action(async (name: string, flags: RobotCreateFlags) =>
    report(await (await import('./robot.ts')).robotRegenerate(terminal, name, flags, Date.now())),
  );
  withServer(
    robot.command('delete').description('Delete a robot with its permissions').argument('<namespace+name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./robot.ts')).robotDelete(terminal, name, flags)),
  );
}

function addTokenCommands(token: Command, terminal: Terminal, report: Report): void {
  withServer(
    token
      .command('create')
      .summary('Make a token and print it')
      .description(`Makes a token and prints it, only this once. Scopes: ${scopes.join(', ')}.`)
      .argument('<name>', 'what you will know it by')
      .option('--scope <scope>', 'may be repeated (default: repo:read and repo:write)', gather)
      .option(...expires),
  ).action(async (name: string, flags: TokenCreateFlags) =>
    report(await (await import('./token.ts')).tokenCreate(terminal, name, flags, Date.now())),
  );
  withServer(token.command('list').description('List your tokens')).action(async (flags: ServerFlags) =>
    report(await (await import('./token.ts')).tokenList(terminal, flags)),
  );
  withServer(
    token
      .command('revoke')
      .description('Revoke a token at once')
      .argument('<token>', 'its name, or its id or the first characters of it, at least four'),
  ).action(async (id: string, flags: ServerFlags) =>
    report(await (await import('./token.ts')).tokenRevoke(terminal, id, flags)),
  );
}

function addUserCommands(user: Command, terminal: Terminal, report: Report): void {
  withServer(
    user
      .command('create')
      .description('Make a user; prints the password unless you give one')
      .argument('<name>')
      .option('--email <address>')
      .option('--password-stdin', 'read the password from standard input'),
  ).action(async (name: string, flags: UserCreateFlags) =>
    report(await (await import('./user.ts')).userCreate(terminal, name, flags)),
  );
  withServer(user.command('list').description('List users')).action(async (flags: ServerFlags) =>
    report(await (await import('./user.ts')).userList(terminal, flags)),
  );
  for (const [name, enabled, description] of [
    ['disable', false, 'Refuse a user, with all tokens and robots, from now on'],
    ['enable', true, 'Let a disabled user in again'],
  ] as const)
    withServer(user.command(name).description(description).argument('<name>')).action(
      async (username: string, flags: ServerFlags) =>
        report(await (await import('./user.ts')).userEnable(terminal, username, enabled, flags)),
    );
  withServer(
    user
      .command('delete')
      .description('Delete a user who has no repositories, with tokens and robots')
      .argument('<name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./user.ts')).userDelete(terminal, name, flags)),
  );
  withServer(
    user
      .command('password')
      .summary('Change a password')
      .description(
        'Changes your own password, which takes the one before; with a name that of a user, which takes a superuser.\n' +
          'All sessions end.',
      )
      .argument('[name]', 'whose (default: your own)')
      .option(
        '--password-stdin',
        'read from standard input: the current password if it is your own, then the new',
      )
      .option('--revoke-tokens', 'end all tokens too'),
  ).action(async (name: string | undefined, flags: UserPasswordFlags) =>
    report(await (await import('./user.ts')).userPassword(terminal, name, flags)),
  );
}

function addOrganizationCommands(org: Command, terminal: Terminal, report: Report): void {
  withServer(
    org
      .command('create')
      .description('Make an organization, which you administer')
      .argument('<name>')
      .option('--email <address>'),
  ).action(async (name: string, flags: OrgCreateFlags) =>
    report(await (await import('./org.ts')).orgCreate(terminal, name, flags)),
  );
  withServer(org.command('list').description('List the organizations you are in')).action(
    async (flags: ServerFlags) => report(await (await import('./org.ts')).orgList(terminal, flags)),
  );
  withServer(
    org
      .command('delete')
      .description('Delete an organization that has no repositories, with its teams and robots')
      .argument('<name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./org.ts')).orgDelete(terminal, name, flags)),
  );
  withServer(
    org.command('members').description('List the people of an organization').argument('<name>'),
  ).action(async (name: string, flags: ServerFlags) =>
    report(await (await import('./org.ts')).orgMembers(terminal, name, flags)),
  );
  withServer(org.command('teams').description('List the teams of an organization').argument('<name>')).action(
    async (name: string, flags: ServerFlags) =>
      report(await (await import('./org.ts')).orgTeams(terminal, name, flags)),
  );
  withServer(
    org
      .command('team')
      .description('Make, change or delete a team')
      .argument('<name>')
      .argument('<team>')
      .addOption(new Option('--role <role>', 'what its members are').choices(['member', 'creator', 'admin']))
      .option('--description <text>', 'what it is')
      .option('--delete', 'delete it'),
  ).action(async (name: string, team: string, flags: OrgTeamFlags) =>
    report(await (await import('./org.ts')).orgTeam(terminal, name, team, flags)),
  );
  withServer(
    org
      .command('add')
      .description('Put a user or a robot into a team')
      .argument('<name>')
      .argument('<member>', 'a user, or a robot of the organization')
      .requiredOption('--team <team>', 'the team'),
  ).action(async (name: string, member: string, flags: OrgMemberFlags) =>
    report(await (await import('./org.ts')).orgAdd(terminal, name, member, flags)),
  );
  withServer(
    org
      .command('remove')
      .description('Take somebody out of a team, or out of all')
      .argument('<name>')
      .argument('<member>')
      .option('--team <team>', 'the team (default: all)'),
  ).action(async (name: string, member: string, flags: ServerFlags & Partial<OrgMemberFlags>) =>
    report(await (await import('./org.ts')).orgRemove(terminal, name, member, flags)),
  );
}
