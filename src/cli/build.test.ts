import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import { ContextError } from '../context/context-error.ts';
import { type BuildFlags, build } from './build.ts';
import type { Terminal } from './terminal.ts';

let api: SlipwayApi;
let folder: string;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  api.onBuild = (queued) => {
    queued.append({ message: 'built' });
    queued.change({ phase: 'complete', digest: 'sha256:abc' });
  };
  folder = join(await mkdtemp(join(tmpdir(), 'slipway-build-')), 'My App');
  await mkdir(join(folder, 'sub'), { recursive: true });
  await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY . /\n');
  await writeFile(join(folder, '.dockerignore'), 'secret.env\n');
  await writeFile(join(folder, 'secret.env'), 'hidden');
  await writeFile(join(folder, 'sub/a.txt'), 'a');
});
afterEach(async () => {
  await api.stop();
  await rm(join(folder, '..'), { recursive: true });
});

async function run(flags: Partial<BuildFlags> = {}, path = '.', fields: Partial<Terminal> = {}) {
  const memory = new MemoryTerminal({ cwd: folder, server: api.url, token: api.token, ...fields });
  const status = await build(memory.terminal, path, { cache: true, push: true, ...flags });
  return { memory, status, asked: api.builds[0]?.asked ?? {} };
}

async function uploaded(): Promise<string[]> {
  const names: string[] = [];
  const [bytes = Buffer.alloc(0)] = api.uploads.values();
  for await (const entry of Readable.from([bytes]).pipe(createGunzip()).pipe(extract())) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}

describe('slipway build', () => {
  it('packs, uploads, builds, follows and prints the digest', async () => {
    const { memory, status, asked } = await run();
    expect(status).toBe(0);
    expect(await uploaded()).toEqual(expect.arrayContaining(['Dockerfile', '.dockerignore', 'sub/a.txt']));
    expect(await uploaded()).not.toContain('secret.env');
    expect(asked).toEqual({
      file_id: [...api.uploads.keys()][0],
      context: '/',
      dockerfile_path: '/Dockerfile',
      docker_tags: ['latest'],
      build_args: {},
      labels: {},
      secrets: {},
      no_cache: false,
      push: true,
    });
    expect(memory.printed).toContain('built\n==> Complete\nBuilt ada/my-app in');
    expect(memory.printed).toContain('  digest  sha256:abc\n');
    expect(memory.complained).toMatch(
      /^Created the repository ada\/my-app\nUploaded \d files, \d+ B, in .* s\nBuild .* of ada\/my-app is queued\n$/,
    );
  });

  it('passes on what is asked for', async () => {
    const { asked } = await run({
      repo: 'team/web/api',
      tag: ['v1', 'v1.2'],
      buildArg: ['A=1'],
      label: ['b=2'],
      secret: ['id=s,src=secret.env'],
      target: 'final',
      platform: ['linux/arm64'],
      cache: false,
      push: false,
      newestOnly: true,
    });
    expect(asked).toMatchObject({
      docker_tags: ['v1', 'v1.2'],
      build_args: { A: '1' },
      labels: { b: '2' },
      secrets: { s: 'aGlkZGVu' },
      target: 'final',
      platforms: ['linux/arm64'],
      no_cache: true,
      push: false,
      newest_only: true,
    });
    expect(api.builds[0]?.view.repository).toEqual({ namespace: 'team', name: 'web/api' });
  });

  it('takes --file relative to where it runs', async () => {
    await writeFile(join(folder, 'sub/Other'), 'FROM scratch\n');
    const { asked } = await run({ file: 'sub/Other' });
    expect(asked.dockerfile_path).toBe('/sub/Other');
  });

  it('does not create a repository that is there', async () => {
    api.repositories.add('ada/my-app');
    await run();
    expect(api.requests).not.toContain('POST /api/v1/repository');
  });

  it('prints the id and does not wait when detached', async () => {
    const { memory } = await run({ detach: true });
    expect(memory.printed).toBe(`${api.builds[0]?.id}\n`);
    expect(api.resumedAt).toEqual([]);
  });

  it('prints one JSON document when detached, and JSON lines otherwise; nothing else', async () => {
    const detached = await run({ detach: true, json: true });
    expect(JSON.parse(detached.memory.printed)).toEqual(api.builds[0]?.view);
    expect(detached.memory.complained).toBe('');
    const { memory } = await run({ json: true });
    const lines = memory.printed
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({ build: { phase: 'complete', digest: 'sha256:abc' } });
    expect(memory.complained).toBe('');
  });

  it('has the status of the build’s end', async () => {
    api.onBuild = (queued) => queued.change({ phase: 'internalerror', error: 'the disk broke' });
    expect((await run()).status).toBe(2);
  });

  it.each([
    [
      { git: 'https://git.example.com/team/web.git' },
      '.',
      { git: { url: 'https://git.example.com/team/web.git' }, context: '/' },
    ],
    [
      { git: 'https://git.example.com/team/web.git', ref: 'main', file: 'docker/Dockerfile' },
      'app',
      {
        git: { url: 'https://git.example.com/team/web.git', ref: 'main' },
        context: '/app',
        dockerfile_path: '/docker/Dockerfile',
      },
    ],
    [
      { git: 'https://git.example.com/team/web', ref: 'a'.repeat(40) },
      '/',
      { git: { url: 'https://git.example.com/team/web', sha: 'a'.repeat(40) }, context: '/' },
    ],
    [
      { archiveUrl: 'https://files.example.com/Web.TAR.GZ?x=1' },
      '.',
      { archive_url: 'https://files.example.com/Web.TAR.GZ?x=1', context: '/' },
    ],
  ])('leaves it to the server to fetch %j', async (flags, path, source) => {
    const { asked } = await run(flags, path);
    expect(asked).toMatchObject(source);
    expect('dockerfile_path' in asked).toBe('file' in flags);
    expect(api.uploads.size).toBe(0);
    expect(api.builds[0]?.view.repository).toEqual({ namespace: 'ada', name: 'web' });
  });

  it('sends what opens a git repository out of files, without the line end of a token', async () => {
    await writeFile(join(folder, 'id_ed25519'), 'KEY\n');
    await writeFile(join(folder, 'token'), 'tok-1\n');
    const url = 'git@git.example.com:team/web.git';
    const { asked } = await run({ git: url, gitKey: 'id_ed25519', gitLfs: true });
    expect(asked).toMatchObject({ git: { url, private_key: 'KEY\n', lfs: true } });
    await run({ git: 'https://git.example.com/team/web.git', gitTokenFile: 'token', gitUser: 'kim' });
    expect(api.builds[0]?.asked).toMatchObject({ git: { token: 'tok-1', username: 'kim' } });
    await expect(run({ git: url, gitKey: 'nowhere' })).rejects.toMatchObject({ code: 'local' });
  });

  it.each([
    { tag: ['a b'] },
    { repo: 'Web' },
    { git: 'https://x/y', archiveUrl: 'https://x/y' },
    { ref: 'main' },
    { gitKey: 'id_ed25519' },
    { gitLfs: true },
    { buildArg: ['A'] },
    { secret: ['id=a'] },
  ])('refuses %j before it asks the server anything', async (flags) => {
    await expect(run(flags)).rejects.toMatchObject({ name: 'CliError', code: 'usage' });
    expect(api.requests).toEqual([]);
  });

  it('says what is wrong with the context, and leaves no build', async () => {
    await rm(join(folder, 'Dockerfile'));
    await expect(run()).rejects.toBeInstanceOf(ContextError);
    await expect(run({}, 'missing')).rejects.toBeInstanceOf(ContextError);
    expect(api.builds).toEqual([]);
    expect(api.repositories.size).toBe(0);
  });

  it('ends with the server’s words when the upload is refused', async () => {
    const refuse = () => api.answerNext({ status: 413, body: '{"detail":"The file is too large."}' });
    api.onRequest = (request) => {
      if (request.method === 'PUT') refuse();
    };
    await expect(run()).rejects.toMatchObject({
      code: 'refused',
      status: 413,
      message: 'The file is too large.',
    });
    expect(api.builds).toEqual([]);
  });

  it('shows progress on a terminal and takes it away', async () => {
    const { memory } = await run({}, '.', { interactive: true });
    expect(memory.complained).toContain('\r\u001b[2KUploading');
    expect(memory.complained).toMatch(/\r\u001b\[2KUploaded \d files/);
  });
});
