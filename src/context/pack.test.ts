import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { type Header, extract as tarExtract } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type PackOptions, type PackProgress, packContext } from './pack.ts';

let base: string;
let folder: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'slipway-pack-'));
  folder = join(base, 'context');
  put('Dockerfile', 'FROM scratch');
});

afterEach(() => rmSync(base, { recursive: true }));

function put(path: string, content: string | Buffer = path): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true });
  writeFileSync(join(folder, path), content);
}

interface Member {
  readonly header: Header;
  readonly content: Buffer;
}

async function membersOf(archive: Buffer): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const extract = tarExtract();
  extract.end(gunzipSync(archive));
  for await (const entry of extract)
    members.set(entry.header.name.replace(/\/$/, ''), { header: entry.header, content: await buffer(entry) });
  return members;
}

async function pack(options: Partial<PackOptions> = {}) {
  const { stream, dockerfilePath } = await packContext({ folder, ...options });
  const archive = await buffer(stream);
  const members = await membersOf(archive);
  return { archive, members, names: [...members.keys()], dockerfilePath };
}

describe('packContext', () => {
  it('keeps files, folders, links, modes and times, and gives everything to 0:0', async () => {
    put('bin/run', '#!/bin/sh');
    chmodSync(join(folder, 'bin/run'), 0o755);
    utimesSync(join(folder, 'bin/run'), 1_500_000_000.9, 1_500_000_000.9);
    linkSync(join(folder, 'bin/run'), join(folder, 'bin/same'));
    symlinkSync('/nowhere/at all', join(folder, 'link'));
    mkdirSync(join(folder, 'empty'));
    put('large', Buffer.alloc(700_001, 'large '));
    put(`${'deep/'.repeat(40)}ümlaut`, 'x');
    const { members, names, dockerfilePath } = await pack();
    expect(dockerfilePath).toBe('Dockerfile');
    expect(names.slice(0, 4)).toEqual(['Dockerfile', 'bin', 'bin/run', 'bin/same']);
    expect(names).toEqual(expect.arrayContaining(['empty', 'large', 'link', `${'deep/'.repeat(40)}ümlaut`]));
    expect(members.get('bin/run')).toMatchObject({
      header: { type: 'file', mode: 0o755, uid: 0, gid: 0, mtime: new Date(1_500_000_000_000) },
      content: Buffer.from('#!/bin/sh'),
    });
    expect(members.get('bin/same')).toMatchObject({
      header: { type: 'file' },
      content: Buffer.from('#!/bin/sh'),
    });
    expect(members.get('link')?.header).toMatchObject({ type: 'symlink', linkname: '/nowhere/at all' });
    expect(members.get('large')?.content.equals(Buffer.alloc(700_001, 'large '))).toBe(true);
  });

  it('gives the same bytes for the same files', async () => {
    for (let i = 0; i < 50; i++) put(`d${i % 7}/f${i}`);
    expect((await pack()).archive.equals((await pack()).archive)).toBe(true);
  });

  it('leaves out what is ignored, and keeps what is brought back with the folders it is in', async () => {
    put('.dockerignore', 'node_modules\n*.log\nout\n!out/keep/**\nDockerfile\n.dockerignore\n');
    put('node_modules/a/b/c');
    put('a.log');
    put('src/a.ts');
    put('out/drop');
    put('out/keep/file');
    put('out/other/file');
    expect((await pack()).names).toEqual([
      '.dockerignore',
      'Dockerfile',
      'out',
      'out/keep',
      'out/keep/file',
      'src',
      'src/a.ts',
    ]);
  });

  it('does not enter ignored folders', async () => {
    put('.dockerignore', 'closed');
    put('closed/secret');
    chmodSync(join(folder, 'closed'), 0o000);
    const asRoot = process.getuid?.() === 0;
    expect((await pack()).names).toEqual(['.dockerignore', 'Dockerfile']);
    writeFileSync(join(folder, '.dockerignore'), '');
    if (asRoot) expect((await pack()).names).toContain('closed/secret');
    else await expect(pack()).rejects.toMatchObject({ code: 'unreadable' });
    chmodSync(join(folder, 'closed'), 0o755);
  });

  it("prefers the Dockerfile's own ignore file, and packs it", async () => {
    put('docker/app.Dockerfile', 'FROM scratch');
    put('docker/app.Dockerfile.dockerignore', '*');
    put('.dockerignore', 'src');
    put('src/a');
    const { names, dockerfilePath } = await pack({ dockerfile: 'docker/app.Dockerfile' });
    expect(dockerfilePath).toBe('docker/app.Dockerfile');
    expect(names).toEqual([
      '.dockerignore',
      'docker',
      'docker/app.Dockerfile',
      'docker/app.Dockerfile.dockerignore',
    ]);
  });

  it('brings a Dockerfile from outside or from a text, hidden from the image', async () => {
    put('.dockerignore', 'drop');
    put('drop');
    writeFileSync(join(base, 'Other'), 'FROM other');
    for (const dockerfile of [join(base, 'Other'), '../Other', { text: Buffer.from('FROM other') }]) {
      const { members, names, dockerfilePath } = await pack({ dockerfile });
      expect(members.get(dockerfilePath)?.content.toString()).toBe('FROM other');
      expect(members.get(`${dockerfilePath}.dockerignore`)?.content.toString()).toBe(
        `drop\n${dockerfilePath}\n${dockerfilePath}.dockerignore\n`,
      );
      expect(names).not.toContain('drop');
    }
    writeFileSync(join(base, 'Other.dockerignore'), 'Dockerfile');
    const { names } = await pack({ dockerfile: '../Other' });
    expect(names).toContain('drop');
    expect(names).not.toContain('Dockerfile');
  });

  it('warns of sockets and pipes and leaves them out', async () => {
    expect(spawnSync('mkfifo', [join(folder, 'pipe')]).status).toBe(0);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(folder, 'sock'), resolve));
    const warnings: string[] = [];
    const { names } = await pack({ onWarning: (message) => warnings.push(message) });
    await new Promise((resolve) => server.close(resolve));
    expect(names).toEqual(['Dockerfile']);
    expect(warnings).toEqual([
      expect.stringContaining('pipe is left out'),
      expect.stringContaining('sock is left out'),
    ]);
  });

  it('warns of names that are not UTF-8', async () => {
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/caf`), Buffer.from([0xe9])]), 'x');
    const warnings: string[] = [];
    expect((await pack({ onWarning: (message) => warnings.push(message) })).names).toEqual(['Dockerfile']);
    expect(warnings).toEqual([expect.stringContaining('not UTF-8')]);
  });

  it('tells its progress', async () => {
    put('large', Buffer.alloc(1_000_000));
    const told: PackProgress[] = [];
    await pack({ onProgress: (progress) => told.push(progress) });
    expect(told.at(-1)).toEqual({ files: 2, bytes: 1_000_012 });
    expect(told.length).toBeGreaterThan(3);
  });

  it('stops when it is cancelled, and when the reader goes away', async () => {
    put('large', Buffer.alloc(3_000_000, 'x'));
    const abort = new AbortController();
    const cancelled = await packContext({ folder, signal: abort.signal, onProgress: () => abort.abort() });
    await expect(buffer(cancelled.stream)).rejects.toMatchObject({ code: 'cancelled' });
    const left = await packContext({ folder });
    left.stream.destroy();
    await expect(buffer(left.stream)).rejects.toThrow();
  });

  it('says what is missing', async () => {
    await expect(pack({ folder: join(base, 'nowhere') })).rejects.toMatchObject({ code: 'not-found' });
    await expect(pack({ folder: join(folder, 'Dockerfile') })).rejects.toMatchObject({ code: 'not-found' });
    await expect(pack({ dockerfile: 'Other' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(pack({ dockerfile: '.' })).rejects.toMatchObject({ code: 'not-found' });
    put('.dockerignore', '[');
    await expect(pack()).rejects.toMatchObject({ code: 'bad-ignore-file' });
  });
});
