import { spawnSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ExtractedSource, type ExtractOptions, extractPackage } from './extract.ts';
import { SourceError } from './source-error.ts';
import { paxOf, type TarMember, tarOf, type ZipMember, zipOf } from './tar-samples.ts';

let base: string;
let root: string;
let outside: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'slipway-extract-'));
  root = join(base, 'source');
  outside = join(base, 'outside');
  mkdirSync(outside);
  writeFileSync(join(outside, 'canary'), 'alive');
});

afterEach(() => {
  expect(snapshotOf(outside)).toEqual(['canary:alive']);
  expect(readdirSync(base).filter((name) => !['outside', 'source', 'package'].includes(name))).toEqual([]);
  rmSync(base, { recursive: true, force: true });
});

function extract(bytes: Buffer, options: Partial<ExtractOptions> = {}): Promise<ExtractedSource> {
  rmSync(root, { recursive: true, force: true });
  writeFileSync(join(base, 'package'), bytes);
  return extractPackage({ file: join(base, 'package'), root, ...options });
}

function snapshotOf(folder: string, below = ''): string[] {
  return readdirSync(join(folder, below), { encoding: 'latin1' })
    .sort()
    .flatMap((name) => {
      const path = join(below, name);
      const found = lstatSync(join(folder, path), { throwIfNoEntry: false });
      if (found === undefined) return [`${path}?`];
      if (found.isDirectory()) return [`${path}/`, ...snapshotOf(folder, path)];
      if (found.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(folder, path))}`];
      return [`${path}:${readFileSync(join(folder, path), 'latin1').slice(0, 20)}`];
    });
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'none';
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    return error.code;
  }
}

const up = { name: 'up', type: '2', link: '..' };

describe('a tar archive', () => {
  it('becomes the same tree, modes and times included', async () => {
    const source = await extract(
      tarOf([
        { name: './', type: '5', mode: 0o755 },
        { name: './a/', type: '5', mode: 0o750, mtime: 1_500_000_000 },
        { name: './a/run', data: 'x', mode: 0o4755, mtime: 1_500_000_001 },
        { name: 'a/same', type: '1', link: './a/run' },
        { name: 'a/out', type: '2', link: '/etc/passwd' },
        { name: 'deep/er/file', data: 'y'.repeat(70_000) },
        { name: 'empty', data: '' },
      ]),
    );
    expect(snapshotOf(root)).toEqual([
      'a/',
      'a/out -> /etc/passwd',
      'a/run:x',
      'a/same:x',
      'deep/',
      'deep/er/',
      `deep/er/file:${'y'.repeat(20)}`,
      'empty:',
    ]);
    expect(source).toEqual({ type: 'tar', entries: 8, bytes: 70_001 });
    const folder = statSync(join(root, 'a'));
    const file = statSync(join(root, 'a/run'));
    expect([folder.mode & 0o7777, folder.mtimeMs]).toEqual([0o750, 1_500_000_000_000]);
    expect([file.mode & 0o7777, file.mtimeMs, file.nlink]).toEqual([0o4755, 1_500_000_001_000, 2]);
    expect(statSync(join(root, 'deep')).mtimeMs).toBe(0);
  });

  it.each<[string, TarMember[]]>([
    ['a member above the root', [{ name: '../canary', data: 'dead' }]],
    ['a member above the root, further in', [{ name: 'a/../../outside/canary', data: 'dead' }]],
    ['a folder above the root', [{ name: '../outside/', type: '5' }]],
    ['a file through a link', [{ ...up }, { name: 'up/outside/canary', data: 'dead' }]],
    ['a folder through a link', [{ ...up }, { name: 'up/new/', type: '5' }]],
    [
      'a file through two links',
      [{ ...up }, { name: 'b', type: '2', link: 'up/outside' }, { name: 'b/canary', data: 'dead' }],
    ],
    ['a link through a link', [{ ...up }, { name: 'up/outside/link', type: '2', link: 'x' }]],
    [
      'a hard link through a link',
      [{ ...up }, { name: 'h', type: '1', link: 'up/outside/canary' }, { name: 'h', data: 'dead' }],
    ],
    ['a hard link above the root', [{ name: 'h', type: '1', link: '../outside/canary' }]],
    ['a hard link to a link', [{ ...up }, { name: 'h', type: '1', link: 'up' }]],
    [
      'a hard link to nothing',
      [
        { name: 'h', type: '1', link: 'later' },
        { name: 'later', data: '' },
      ],
    ],
    [
      'a hard link to a folder',
      [
        { name: 'd/', type: '5' },
        { name: 'h', type: '1', link: 'd' },
      ],
    ],
    ['a character device', [{ name: 'null', type: '3' }]],
    ['a block device', [{ name: 'sda', type: '4' }]],
    ['a named pipe', [{ name: 'pipe', type: '6' }]],
    ['a sparse file', [{ name: 's', type: 'S' }]],
    ['a sparse file of the newer kind', [paxOf({ 'GNU.sparse.major': '1' }), { name: 's' }]],
    ['another volume', [{ name: 'm', type: 'M' }]],
    ['an unknown type', [{ name: 'q', type: 'q' }]],
    [
      'a file below a file',
      [
        { name: 'f', data: '' },
        { name: 'f/g', data: '' },
      ],
    ],
    [
      'a file in place of a full folder',
      [
        { name: 'd/f', data: '' },
        { name: 'd', data: '' },
      ],
    ],
    ['a file with no name', [{ name: '', data: '' }]],
    ['a file named like the root', [{ name: './.', data: '' }]],
    ['a link without a target', [{ name: 'l', type: '2', link: '' }]],
    ['a name that is too long', [paxOf({ path: 'n'.repeat(256) }), { name: 'x' }]],
    ['a path that is too long', [paxOf({ path: 'n/'.repeat(3000) }), { name: 'x' }]],
    ['a NUL in a name', [paxOf({ path: 'a\0b' }), { name: 'x' }]],
    ['a size that is no number', [paxOf({ size: '-5' }), { name: 'x' }]],
    ['an extended header that cannot be read', [{ name: 'p', type: 'x', data: '99 path=x\n' }]],
    ['a huge extended header', [{ name: 'p', type: 'x', size: 2 << 20 }]],
    ['a member that is not whole', [{ name: 'f', data: 'x', size: 100_000 }]],
  ])('with %s is refused', async (_name, members) => {
    expect(await codeOf(extract(tarOf(members)))).toBe('cannotextractbuildpack');
  });

  it('may name members absolutely, twice, with odd bytes and at length', async () => {
    const long = `${'d/'.repeat(80)}${'n'.repeat(255)}`;
    await extract(
      tarOf([
        { name: '/etc/absolute', data: '1' },
        { name: 'twice', data: 'first' },
        { name: 'hard', type: '1', link: 'twice' },
        { name: 'twice', data: 'second' },
        { name: 'link', type: '2', link: '../outside/canary' },
        { name: 'link', data: 'a file now' },
        { name: 'folder/', type: '5' },
        { name: 'folder', data: 'a file now' },
        { name: 'file', data: '' },
        { name: 'file/', type: '5' },
        { name: 'File', data: 'case' },
        { name: Buffer.from('caf\xe9', 'latin1'), data: 'latin1' },
        { name: 'back\\slash', data: '' },
        paxOf({ path: 'ümläut', mtime: '1500000000.75' }),
        { name: 'x', data: 'pax' },
        { name: '././@LongLink', type: 'L', data: `${long}\0` },
        { name: 'x', data: 'gnu' },
        { name: 'g', type: 'g', data: '13 comment=x\n' },
        { name: 'after', data: '' },
      ]),
    );
    const tree = snapshotOf(root);
    expect(tree).toEqual(
      expect.arrayContaining([
        'etc/absolute:1',
        'twice:second',
        'hard:first',
        'link:a file now',
        'folder:a file now',
        'file/',
        'File:case',
        'back\\slash:',
        'after:',
      ]),
    );
    expect(readdirSync(root, { encoding: 'latin1' })).toContain('caf\xe9');
    expect(readFileSync(join(root, long), 'utf8')).toBe('gnu');
    expect([readFileSync(join(root, 'ümläut'), 'utf8'), statSync(join(root, 'ümläut')).mtimeMs]).toEqual([
      'pax',
      1_500_000_000_000,
    ]);
  });

  it('is refused when it is cut anywhere, packed or not', async () => {
    const whole = tarOf([
      { name: 'a', data: 'x'.repeat(600) },
      { name: 'b/', type: '5' },
      { name: 'c', data: 'y' },
    ]);
    for (let length = 0; length <= whole.length - 1024; length += 256) {
      expect([
        length,
        await codeOf(extract(whole.subarray(0, length), { contentType: 'application/x-tar' })),
      ]).toEqual([length, 'cannotextractbuildpack']);
    }
    const packed = gzipSync(whole);
    for (const length of [1, 10, packed.length >> 1, packed.length - 9, packed.length - 1]) {
      expect([
        length,
        await codeOf(extract(packed.subarray(0, length), { contentType: 'application/gzip' })),
      ]).toEqual([length, 'cannotextractbuildpack']);
    }
  });

  it('is read through every compression', async () => {
    const tar = tarOf([{ name: 'Dockerfile', data: 'FROM scratch' }]);
    const through = (program: string) => spawnSync(program, ['-c'], { input: tar }).stdout;
    for (const [type, bytes] of [
      ['tar.gz', gzipSync(tar)],
      ['tar.zst', zstdCompressSync(tar)],
      ['tar.xz', through('xz')],
      ['tar.bz2', through('bzip2')],
    ] as const) {
      expect((await extract(bytes)).type).toBe(type);
      expect(snapshotOf(root)).toEqual(['Dockerfile:FROM scratch']);
      expect(await codeOf(extract(bytes.subarray(0, bytes.length - 8)))).toBe('cannotextractbuildpack');
    }
  });

  it('may not unpack to too many bytes, too many members or far more than its size', async () => {
    const many = tarOf(Array.from({ length: 11 }, (_, i) => ({ name: `f${i}`, data: '' })));
    expect(await codeOf(extract(many, { limits: { maxEntries: 10 } }))).toBe('sourcetoolarge');
    expect(await codeOf(extract(many, { limits: { maxEntries: 11 } }))).toBe('none');
    expect(await codeOf(extract(tarOf([{ name: 'a/b/c/d', data: '' }]), { limits: { maxEntries: 3 } }))).toBe(
      'sourcetoolarge',
    );
    const large = tarOf([{ name: 'f', data: Buffer.alloc(2000) }]);
    expect(await codeOf(extract(large, { limits: { maxBytes: 1999 } }))).toBe('sourcetoolarge');
    expect(await codeOf(extract(large, { limits: { maxBytes: 2000 } }))).toBe('none');
    const bomb = gzipSync(tarOf([{ name: 'zeros', data: Buffer.alloc(8 << 20) }]));
    expect(await codeOf(extract(bomb, { limits: { ratioFrom: 1 << 20 } }))).toBe('sourcetoolarge');
    const late = gzipSync(Buffer.concat([large, Buffer.alloc(8 << 20)]));
    expect(await codeOf(extract(late, { limits: { ratioFrom: 1 << 20 } }))).toBe('sourcetoolarge');
  });

  it('is left when the build is cancelled', async () => {
    const abort = new AbortController();
    abort.abort();
    expect(await codeOf(extract(tarOf([{ name: 'f', data: '' }]), { signal: abort.signal }))).toBe(
      'cancelled',
    );
  });

  it('writes only below the root, whatever its members are', async () => {
    const part = fc.constantFrom('a', 'b', 'c', '..', '.', '', 'outside', 'canary');
    const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const member = fc.record({
      name: fc.tuple(fc.constantFrom('', '/', '../'), name).map((parts) => parts.join('')),
      type: fc.constantFrom('0', '1', '2', '2', '5'),
      link: fc.oneof(name, fc.constantFrom('..', '../outside', '../outside/canary', '/', '.')),
      data: fc.constantFrom('', 'dead'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(member, { maxLength: 12 }), async (members) => {
        const tar = tarOf(members.map((each) => (each.type === '0' ? each : { ...each, data: '' })));
        expect(['none', 'cannotextractbuildpack']).toContain(
          await codeOf(extract(tar, { contentType: 'application/x-tar' })),
        );
        expect(snapshotOf(outside)).toEqual(['canary:alive']);
        expect(lstatSync(join(outside, 'canary')).nlink).toBe(1);
        expect(readdirSync(base).sort()).toEqual(['outside', 'package', 'source']);
      }),
      { numRuns: 400 },
    );
  });

  it('fails only with a SourceError when bytes of it are changed', async () => {
    const whole = tarOf([
      { name: 'a/', type: '5' },
      { name: 'a/f', data: 'x'.repeat(700) },
      paxOf({ path: 'p' }),
      { name: 'x', data: 'y' },
    ]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.boolean(),
        async (changes, packed) => {
          const bytes = Buffer.from(packed ? gzipSync(whole) : whole);
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
          expect(['none', 'cannotextractbuildpack', 'sourcetoolarge']).toContain(
            await codeOf(extract(bytes, { contentType: 'application/x-tar' })),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('a zip archive', () => {
  it('becomes the same tree, modes included', async () => {
    const large = Buffer.alloc(3 << 20, 'large and easy to pack ');
    const source = await extract(
      zipOf([
        { name: 'a/', mode: 0o040750 },
        { name: 'a/run', data: 'x', mode: 0o100755 },
        { name: 'a/out', data: '/etc/passwd', mode: 0o120777 },
        { name: 'stored', data: 'plain', stored: true, mode: 0o100600 },
        { name: 'large', data: large, mode: 0o100644 },
        { name: 'largestored', data: large, stored: true, mode: 0o100644 },
        { name: 'dos\\made', data: 'd' },
        { name: Buffer.from([0x81]), data: 'code page' },
      ]),
    );
    expect(source.type).toBe('zip');
    expect(snapshotOf(root)).toEqual([
      'a/',
      'a/out -> /etc/passwd',
      'a/run:x',
      'dos/',
      'dos/made:d',
      `large:${large.toString('latin1', 0, 20)}`,
      `largestored:${large.toString('latin1', 0, 20)}`,
      'stored:plain',
      expect.stringContaining('?'),
    ]);
    expect(readFileSync(join(root, 'ü'), 'utf8')).toBe('code page');
    expect(readFileSync(join(root, 'large')).equals(large)).toBe(true);
    expect(readFileSync(join(root, 'largestored')).equals(large)).toBe(true);
    expect(statSync(join(root, 'a/run')).mode & 0o7777).toBe(0o755);
    expect(statSync(join(root, 'a')).mode & 0o7777).toBe(0o750);
  });

  it.each<[string, ZipMember[]]>([
    ['a member above the root', [{ name: '../outside/canary', data: 'dead' }]],
    ['a member above the root, with backslashes', [{ name: '..\\outside\\canary', data: 'dead' }]],
    [
      'a file through a link',
      [
        { name: 'up', data: '..', mode: 0o120777 },
        { name: 'up/outside/canary', data: 'dead' },
      ],
    ],
    ['a device', [{ name: 'null', mode: 0o020666 }]],
    ['a pipe', [{ name: 'pipe', mode: 0o010666 }]],
    ['an encrypted member', [{ name: 'e', data: 'x', encrypted: true }]],
    ['a member larger than it says', [{ name: 'l', data: 'x'.repeat(5000), size: 10 }]],
    ['a large member larger than it says', [{ name: 'l', data: Buffer.alloc(4 << 20), size: 2 << 20 }]],
    ['a large member that cannot be inflated', [{ name: 'l', data: Buffer.alloc(4 << 20), spoiled: true }]],
    ['a member smaller than it says', [{ name: 'l', data: 'x', size: 10 }]],
    ['a wrong checksum', [{ name: 'l', data: 'x', crc: 1 }]],
    ['a long link', [{ name: 'l', data: 'x'.repeat(5000), mode: 0o120777 }]],
  ])('with %s is refused', async (_name, members) => {
    expect(await codeOf(extract(zipOf(members)))).toBe('cannotextractbuildpack');
  });

  it('is refused when it is cut, and limited like every archive', async () => {
    const whole = zipOf([
      { name: 'a', data: 'x'.repeat(600) },
      { name: 'b', data: 'y' },
    ]);
    for (const length of [10, 40, whole.length >> 1, whole.length - 22, whole.length - 1]) {
      expect([length, await codeOf(extract(whole.subarray(0, length)))]).toEqual([
        length,
        'cannotextractbuildpack',
      ]);
    }
    const bomb = zipOf([{ name: 'zeros', data: Buffer.alloc(8 << 20) }]);
    expect(await codeOf(extract(bomb, { limits: { ratioFrom: 1 << 20 } }))).toBe('sourcetoolarge');
    expect(await codeOf(extract(bomb, { limits: { maxBytes: 1 << 20 } }))).toBe('sourcetoolarge');
    expect(await codeOf(extract(whole, { limits: { maxEntries: 1 } }))).toBe('sourcetoolarge');
  });

  it('fails only with a SourceError when bytes of it are changed', async () => {
    const whole = zipOf([
      { name: 'a/', mode: 0o040755 },
      { name: 'a/f', data: 'x'.repeat(700), mode: 0o100644 },
      { name: 'l', data: 'a', mode: 0o120777 },
    ]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 6,
        }),
        async (changes) => {
          const bytes = Buffer.from(whole);
          for (const [at, byte] of changes) bytes[at] = byte;
          expect(['none', 'cannotextractbuildpack', 'sourcetoolarge']).toContain(
            await codeOf(extract(bytes, { contentType: 'application/zip' })),
          );
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('a package of another kind', () => {
  it.each([undefined, 'text/plain', 'text/plain; charset=utf-8', 'application/octet-stream', 'TEXT/PLAIN'])(
    'is a Dockerfile as %s',
    async (contentType) => {
      expect((await extract(Buffer.from('FROM scratch\n'), { contentType })).type).toBe('dockerfile');
      expect(snapshotOf(root)).toEqual(['Dockerfile:FROM scratch\n']);
      const { mode, mtimeMs } = statSync(join(root, 'Dockerfile'));
      expect([mode & 0o7777, mtimeMs]).toEqual([0o644, 0]);
    },
  );

  it.each(['text/html', 'application/zip', 'application/x-tar', 'application/gzip', 'image/png'])(
    'is refused as %s',
    async (contentType) => {
      expect(await codeOf(extract(Buffer.from('<html>'), { contentType }))).toBe('cannotextractbuildpack');
    },
  );

  it('is known by its first bytes, whatever the content type says', async () => {
    const tar = tarOf([{ name: 'Dockerfile', data: 'x' }]);
    expect((await extract(gzipSync(tar), { contentType: 'application/zip' })).type).toBe('tar.gz');
    expect((await extract(tar, { contentType: 'text/plain' })).type).toBe('tar');
    expect(
      (await extract(zipOf([{ name: 'Dockerfile', data: 'x' }]), { contentType: 'text/plain' })).type,
    ).toBe('zip');
  });

  it('is refused when what is packed is no tar', async () => {
    expect(await codeOf(extract(gzipSync('FROM scratch')))).toBe('cannotextractbuildpack');
    expect(await codeOf(extract(gzipSync('')))).toBe('cannotextractbuildpack');
  });
});
