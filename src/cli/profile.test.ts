import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { normalizeServer, readProfile, resolveLogin, writeLogin } from './profile.ts';
import type { Terminal } from './terminal.ts';

let folder: string;
let file: string;
const first = 'http://127.0.0.1:8080';
const second = 'https://slipway.example.com';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-profile-'));
  file = join(folder, 'config/profile.json');
});
afterEach(async () => await rm(folder, { recursive: true }));

function terminal(fields: Partial<Terminal> = {}): Terminal {
  return new MemoryTerminal({ profileFile: file, ...fields }).terminal;
}

describe('a profile', () => {
  it('is empty before the first login', async () => {
    expect(await readProfile(file)).toEqual({ servers: {} });
  });

  it('can be read by its owner only, even when it could be read by others before', async () => {
    await writeLogin(file, first, { username: 'ada', token: 't1' });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'config'))).mode & 0o777).toBe(0o700);
    await chmod(file, 0o644);
    await writeLogin(file, first, { username: 'ada', token: 't2' });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(folder, 'config'))).toEqual(['profile.json']);
  });

  it('keeps the logins of several servers; the last one is current', async () => {
    await writeLogin(file, first, { username: 'ada', token: 't1' });
    await writeLogin(file, second, { username: 'bob', token: 't2' });
    expect(await resolveLogin(terminal(), undefined)).toEqual({
      server: second,
      username: 'bob',
      token: 't2',
    });
    expect(await resolveLogin(terminal(), '127.0.0.1:8080')).toEqual({
      server: first,
      username: 'ada',
      token: 't1',
    });
  });

  it.each(['{', 'null', '[]', '{"servers":3}', '{"current":1}', '{"servers":{"http://x":{"token":1}}}'])(
    'that is damaged is refused and left alone: %s',
    async (text) => {
      await writeLogin(file, first, { username: 'ada', token: 't1' });
      await writeFile(file, text);
      await expect(readProfile(file)).rejects.toMatchObject({ name: 'CliError', code: 'local' });
      await expect(writeLogin(file, first, { username: 'a', token: 't' })).rejects.toMatchObject({
        code: 'local',
      });
      expect(await readFile(file, 'utf8')).toBe(text);
    },
  );

  it('that cannot be written is a local error', async () => {
    await writeFile(join(folder, 'config'), 'a file where the folder goes');
    await expect(writeLogin(file, first, { username: 'a', token: 't' })).rejects.toMatchObject({
      name: 'CliError',
      code: 'local',
    });
  });
});

describe('resolveLogin', () => {
  it('asks for a login when there is none', async () => {
    await expect(resolveLogin(terminal(), undefined)).rejects.toMatchObject({ code: 'not-logged-in' });
    await expect(resolveLogin(terminal(), second)).rejects.toMatchObject({ code: 'not-logged-in' });
  });

  it('takes server and token from the environment before the profile, and the flag before both', async () => {
    await writeLogin(file, first, { username: 'ada', token: 't1' });
    expect(await resolveLogin(terminal({ server: second, token: 'env' }), undefined)).toEqual({
      server: second,
      token: 'env',
    });
    expect(await resolveLogin(terminal({ server: second }), first)).toMatchObject({
      server: first,
      token: 't1',
    });
  });

  it('does not call a token from the environment by the name in the profile', async () => {
    await writeLogin(file, first, { username: 'ada', token: 't1' });
    expect(await resolveLogin(terminal({ token: 'env' }), undefined)).toEqual({
      server: first,
      token: 'env',
    });
  });

  it('takes empty variables for unset ones', async () => {
    await writeLogin(file, first, { username: 'ada', token: 't1' });
    expect(await resolveLogin(terminal({ server: '', token: '' }), undefined)).toMatchObject({ token: 't1' });
  });
});

describe('normalizeServer', () => {
  it.each([
    ['localhost:8080', 'http://localhost:8080'],
    ['HTTPS://Slipway.Example.com/', 'https://slipway.example.com'],
    ['http://ada:secret@host:80/path?x', 'http://host'],
    ['[::1]:8080', 'http://[::1]:8080'],
  ])('%s is %s', (text, server) => {
    expect(normalizeServer(text)).toBe(server);
  });

  it.each(['', 'http://', 'ftp://host', 'a b', 'host:99999'])('refuses %j', (text) => {
    expect(() => normalizeServer(text)).toThrow(expect.objectContaining({ name: 'CliError', code: 'usage' }));
  });
});
