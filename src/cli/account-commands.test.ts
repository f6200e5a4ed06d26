import { Command } from 'commander';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, password, startApiServer } from '../../test/harness/api-server.ts';
import { addClientCommands } from './program.ts';

let server: ApiHarness;
let root: string;
let kim: string;

beforeAll(async () => {
  server = await startApiServer();
  root = await server.addUser('root', { superuser: true });
  kim = await server.addUser('kim');
  await server.addUser('lee');
  await server.addRepository('kim/web');
});
afterAll(async () => await server[Symbol.asyncDispose]());

/** A whole command line, against a real server. */
async function run(token: string, words: string, typed?: string) {
  const memory = new MemoryTerminal({ server: server.url, token });
  if (typed !== undefined) memory.typed.end(typed);
  let status: number | undefined;
  const program = new Command('slipway').exitOverride();
  addClientCommands(program, memory.terminal, (given) => {
    status = given;
  });
  await program.parseAsync(words.split(' '), { from: 'user' });
  expect(status).toBe(0);
  return { printed: memory.printed, complained: memory.complained };
}

test('a robot is made, shown, listed, given a new token and deleted', async () => {
  const made = await run(kim, 'robot create kim+ci --description builds --expires 30d');
  expect(made.printed).toMatch(/^slr_[\w-]{43}\n$/);
  expect(made.complained).toContain('shown only now');
  await server.accounts.setPermission({ namespace: 'kim', name: 'web' }, 'kim+ci', 'write');
  const shown = await run(kim, 'robot show kim+ci');
  expect(shown.printed).toContain('description  builds\n');
  expect(shown.printed).toContain('may write    kim/web\n');
  expect(shown.printed).not.toContain('slr_');
  for (const words of ['robot list', 'robot list --namespace kim'])
    expect((await run(kim, words)).printed).toMatch(/^NAME .*\nkim\+ci .* builds\n$/);
  const again = await run(kim, 'robot regenerate kim+ci --json');
  const { token } = JSON.parse(again.printed) as { token: string };
  expect(token).not.toBe(made.printed.trim());
  expect(await server.accounts.verifyToken(made.printed.trim())).toBeUndefined();
  expect(await server.accounts.verifyToken(token)).toMatchObject({ name: 'kim+ci' });
  expect((await run(kim, 'robot delete kim+ci')).printed).toBe('Deleted kim+ci\n');
  expect((await run(kim, 'robot list')).printed).toContain('There are no robots');
  await expect(run(kim, 'robot show kim+ci')).rejects.toMatchObject({ status: 404 });
  for (const name of ['ci', 'kim+', '+ci', 'a+b+c'])
    await expect(run(kim, `robot show ${name}`)).rejects.toMatchObject({ code: 'usage' });
  await expect(run(kim, 'robot create lee+ci')).rejects.toMatchObject({ status: 403 });
});

test('a token is made, listed and revoked', async () => {
  const made = await run(kim, 'token create ci --scope repo:read --expires 1h --json');
  const { id, token, scopes } = JSON.parse(made.printed) as { id: string; token: string; scopes: string[] };
  expect(scopes).toEqual(['repo:read']);
  expect(await server.accounts.verifyToken(token)).toBeDefined();
  const listed = await run(kim, 'token list');
  expect(listed.printed).toContain(id);
  expect(listed.printed).not.toContain(token);
  expect((await run(kim, `token revoke ${id}`)).printed).toBe(`Revoked ci (${id})\n`);
  expect(await server.accounts.verifyToken(token)).toBeUndefined();
  expect((await run(kim, 'token create other')).printed).toMatch(/^slp_[\w-]{43}\n$/);
  await expect(run(kim, 'token create x --scope all')).rejects.toThrow('must be one of');
  await expect(run(kim, 'token create x --expires soon')).rejects.toMatchObject({ code: 'usage' });
});

test('a token is revoked by its name, or the beginning of its id, when that says which', async () => {
  const owner = await server.addUser('robin');
  const make = async (name: string) =>
    JSON.parse((await run(owner, `token create ${name} --json`)).printed) as { id: string };
  const [one, two, other] = [await make('twice'), await make('twice'), await make('once')];
  const refused = async (text: string) => await run(owner, `token revoke ${text}`).catch((thrown) => thrown);
  const ambiguous = await refused('twice');
  expect(ambiguous).toMatchObject({ code: 'usage' });
  for (const { id } of [one, two]) expect(ambiguous.message).toContain(id);
  expect(ambiguous.message).not.toContain(other.id);
  const none = await refused('never');
  expect(none).toMatchObject({ code: 'usage' });
  for (const { id } of [one, two, other]) expect(none.message).toContain(id);
  // Three characters may be anybody's.
  expect(await refused(one.id.slice(0, 3))).toMatchObject({ code: 'usage' });
  expect((await run(owner, 'token revoke once')).printed).toBe(`Revoked once (${other.id})\n`);
  await run(owner, `token revoke ${one.id.slice(0, 13)}`);
  expect((await run(owner, 'token list')).printed).not.toContain(one.id);
  await run(owner, 'token revoke twice');
  expect((await run(owner, 'token list')).printed).not.toContain(two.id);
});

test('what a revoked token has made is named', async () => {
  const { token, view } = await server.accounts.createToken('kim', {
    name: 'leaked',
    scopes: ['user:admin', 'org:admin', 'repo:admin', 'repo:read', 'repo:write'],
  });
  await run(token, 'robot create kim+left');
  expect((await run(kim, 'robot show kim+left')).printed).toContain(`made with    the token ${view.id}\n`);
  const child = JSON.parse((await run(token, 'token create child --json')).printed) as { id: string };
  const { printed, complained } = await run(kim, 'token revoke leaked');
  expect(printed).toBe(`Revoked leaked (${view.id})\n`);
  expect(complained).toContain('slipway robot regenerate kim+left');
  expect(complained).toContain(`slipway token revoke ${child.id}`);
  const json = JSON.parse((await run(kim, 'token revoke child --json')).printed);
  expect(json).toEqual({ revoked: child.id, still_valid: { robots: [], tokens: [] } });
  await run(kim, 'robot delete kim+left');
});

test('users are made, listed, disabled, enabled, given a password and deleted', async () => {
  const made = await run(root, 'user create newcomer --email n@example.com');
  const given = /password {2}(\S+)/.exec(made.printed)?.[1] ?? '';
  expect(await server.accounts.verifyPassword('newcomer', given)).toBeDefined();
  expect((await run(root, 'user list')).printed).toMatch(/newcomer +enabled .* n@example.com\n/);
  await run(root, 'user disable newcomer');
  expect((await run(root, 'user list')).printed).toMatch(/newcomer +disabled /);
  await run(root, 'user enable newcomer');
  await run(root, 'user password newcomer --password-stdin', 'battery staple\n');
  expect(await server.accounts.verifyPassword('newcomer', 'battery staple')).toBeDefined();
  expect((await run(root, 'user delete newcomer')).printed).toBe('Deleted newcomer\n');
  await run(root, 'user create other --password-stdin', 'battery staple\n');
  expect(await server.accounts.verifyPassword('other', 'battery staple')).toBeDefined();
  await expect(run(root, 'user delete root')).rejects.toMatchObject({ status: 409 });
  await expect(run(kim, 'user list')).rejects.toMatchObject({ status: 403 });
});

test('one changes one’s own password with the one before', async () => {
  const wrong = run(kim, 'user password --password-stdin', 'not it\nbattery staple\n');
  await expect(wrong).rejects.toMatchObject({ status: 403 });
  const changed = await run(kim, 'user password --password-stdin', `${password}\nbattery staple\n`);
  expect(changed.printed).toBe('Changed the password of kim\n');
  expect(await server.accounts.verifyPassword('kim', 'battery staple')).toBeDefined();
  await expect(run(kim, 'user password')).rejects.toMatchObject({ code: 'usage' });
});

test('organizations have teams and members, and go again', async () => {
  expect((await run(kim, 'org create acme --email a@example.com')).printed).toContain('acme');
  expect((await run(kim, 'org list')).printed).toMatch(/^NAME .*\nacme .* a@example.com\n$/);
  expect((await run(kim, 'org team acme devs --role creator --description makers')).printed).toContain(
    'the role creator',
  );
  expect((await run(kim, 'org add acme lee --team devs')).printed).toBe('lee is in the team devs of acme\n');
  await run(kim, 'robot create acme+ci');
  await run(kim, 'org add acme acme+ci --team devs');
  expect((await run(kim, 'org members acme')).printed).toMatch(/kim +owners\nlee +devs\n/);
  expect((await run(kim, 'org teams acme')).printed).toMatch(/devs +creator +2 +0 +makers\n/);
  await run(kim, 'org remove acme acme+ci --team devs');
  expect((await run(kim, 'org remove acme lee')).printed).toBe('lee is no longer in acme\n');
  await run(kim, 'org team acme devs --delete');
  await expect(run(kim, 'org remove acme kim')).rejects.toMatchObject({ status: 409 });
  expect((await run(kim, 'org delete acme')).printed).toBe('Deleted acme\n');
  expect((await run(kim, 'org list')).printed).toContain('You are in no organization');
});

test('lists go on over pages', async () => {
  for (let count = 0; count < 101; count += 1)
    await server.accounts.organizations.create({ name: `org-${count}`, owner: 'lee' });
  const listed = await run(root, 'org list --json');
  expect((JSON.parse(listed.printed) as unknown[]).length).toBe(101);
});

test('a superuser who makes a repository in a namespace that is not there is told of the new organization', async () => {
  const [typo, next, own] = [
    await run(root, 'repo create tema/web'),
    await run(root, 'repo create tema/api'),
    await run(kim, 'repo create kim/api --json'),
  ];
  expect(typo.printed).toMatch(/^Created the organization tema, .* repository tema\/web\n$/);
  expect(next.printed).toBe('Created the repository tema/api\n');
  expect(JSON.parse(own.printed)).toEqual({ repository: 'kim/api', namespace_created: false });
});
