import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRawSync, gzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { paxOf, type TarMember, tarOf, zipOf } from '../../src/worker/source/tar-samples.ts';
import { SlipwayServer, until } from '../harness/slipway-server.ts';
import { build, buildBase, type Outcome, upload } from './hostile-build.ts';

/**
 * Archives as an attacker makes them, through the whole of a real server. Every attempt to get out carries one name;
 * no file of that name may ever be anywhere on this machine, and the canary beside the workspaces, which the account of
 * the workers may write, stays as it is.
 */
const mark = `escaped-${process.pid}-${Date.now().toString(36)}`;
const canaryText = 'alive\n';

const execFileAsync = promisify(execFile);

let server: SlipwayServer;
let base: string;
let canary: string;
let pid: number;

beforeAll(async () => {
  server = await SlipwayServer.start(['--workers', '3', '--retry-delay', '0']);
  pid = server.pid;
  await server.becomeUser('hostile');
  base = await buildBase(server, 'hostile/base');
  const workers = join(server.data, 'workers');
  canary = join(workers, 'canary');
  await mkdir(canary);
  await writeFile(join(canary, 'file'), canaryText);
  const { uid, gid } = await stat(join(workers, 'home'));
  for (const path of [canary, join(canary, 'file')]) {
    await chown(path, uid, gid);
    await chmod(path, 0o777);
  }
});

afterAll(async () => {
  await server?.dispose();
});

const dockerfile = (...lines: string[]): TarMember => ({
  name: 'Dockerfile',
  data: [`FROM ${base}`, ...lines, ''].join('\n'),
});

/** Copies everything into the image and lists it there. */
const listing = (): TarMember =>
  dockerfile(
    'COPY . /x',
    "RUN cd /x && find . | sort && find . -type f -exec sh -c 'echo $1=$(head -c 30 $1)' - {} ';'",
  );

const up = '../'.repeat(12);

interface Sample {
  readonly what: string;
  readonly bytes: () => Buffer;
  /** The content type it is sent with; application/x-tar when absent. */
  readonly type?: string;
  /** The code and what the message must say, or what the log of a build that works must say. */
  readonly expected:
    | { readonly code: string; readonly message: RegExp }
    | { readonly log: readonly RegExp[]; readonly not?: readonly RegExp[] };
}

const refused = (message: RegExp, code = 'cannotextractbuildpack') => ({ code, message });
const worked = (...log: RegExp[]) => ({ log });

const escapes: Sample[] = [
  {
    what: '../ in a name',
    bytes: () => tarOf([listing(), { name: `${up}tmp/${mark}`, data: 'x' }]),
    expected: refused(/member ".*escaped.*" leads out of the source with "\.\."/),
  },
  {
    what: '../ behind a folder',
    bytes: () =>
      tarOf([listing(), { name: 'a/', type: '5' }, { name: `a/../../../canary/${mark}`, data: 'x' }]),
    expected: refused(/leads out of the source/),
  },
  {
    what: '../ in a PAX path',
    bytes: () => tarOf([listing(), paxOf({ path: `../../canary/${mark}` }), { name: 'harmless', data: 'x' }]),
    expected: refused(/leads out of the source/),
  },
  {
    what: '../ in a GNU long name',
    bytes: () =>
      tarOf([
        listing(),
        { name: '././@LongLink', type: 'L', data: `../../canary/${mark}\0` },
        { name: 'harmless', data: 'x' },
      ]),
    expected: refused(/leads out of the source/),
  },
  {
    what: 'a folder at ..',
    bytes: () => tarOf([listing(), { name: `../../${mark}/`, type: '5', mode: 0o777 }]),
    expected: refused(/leads out of the source/),
  },
  {
    what: 'an absolute name',
    bytes: () => tarOf([listing(), { name: '/tmp/slipway-absolute-name', data: 'inside' }]),
    expected: worked(/\.\/tmp\/slipway-absolute-name=inside/),
  },
  {
    what: 'a file through an absolute link',
    bytes: () =>
      tarOf([listing(), { name: 'out', type: '2', link: '/tmp' }, { name: `out/${mark}`, data: 'x' }]),
    expected: refused(/would be written through the symbolic link "out"/),
  },
  {
    what: 'a file through a relative link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out', type: '2', link: '../../../canary' },
        { name: `out/${mark}`, data: 'x' },
      ]),
    expected: refused(/through the symbolic link/),
  },
  {
    what: 'a file through a link to a link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'b', type: '2', link: '../../../canary' },
        { name: 'a', type: '2', link: 'b' },
        { name: `a/${mark}`, data: 'x' },
      ]),
    expected: refused(/through the symbolic link "a"/),
  },
  {
    what: 'a folder through a link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out', type: '2', link: '../../../canary' },
        { name: `out/${mark}/`, type: '5' },
      ]),
    expected: refused(/through the symbolic link/),
  },
  {
    what: 'a link through a link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out', type: '2', link: '../../../canary' },
        { name: `out/${mark}`, type: '2', link: '/etc/passwd' },
      ]),
    expected: refused(/through the symbolic link/),
  },
  {
    what: 'a link that becomes a folder',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out', type: '2', link: '../../../canary' },
        { name: 'out/', type: '5', mode: 0o755 },
        { name: 'out/inner', data: 'inside' },
      ]),
    expected: worked(/\.\/out\/inner=inside/),
  },
  {
    what: 'a folder that becomes a link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out/', type: '5' },
        { name: 'out', type: '2', link: '../../../canary' },
        { name: `out/${mark}`, data: 'x' },
      ]),
    expected: refused(/through the symbolic link/),
  },
  {
    what: 'a link that becomes a file',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'out', type: '2', link: '../../../canary/file' },
        { name: 'out', data: 'new' },
      ]),
    expected: worked(/\.\/out=new/),
  },
  {
    what: 'a link out of the source that is copied',
    bytes: () => tarOf([listing(), { name: 'out', type: '2', link: '../../../canary/file' }]),
    expected: { log: [/\.\/out$/m], not: [/alive/] },
  },
  {
    what: 'a hard link to an absolute file',
    bytes: () => tarOf([listing(), { name: mark, type: '1', link: '/etc/passwd' }]),
    expected: refused(/hard link to "\/etc\/passwd"/),
  },
  {
    what: 'a hard link to ..',
    bytes: () => tarOf([listing(), { name: mark, type: '1', link: '../../canary/file' }]),
    expected: refused(/leads out of the source|hard link/),
  },
  {
    what: 'a hard link to a symbolic link',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'l', type: '2', link: '../../../canary/file' },
        { name: 'h', type: '1', link: 'l' },
        { name: 'h', data: mark },
      ]),
    expected: refused(/hard link to "l"/),
  },
  {
    what: 'a hard link that is written again',
    bytes: () =>
      tarOf([
        listing(),
        { name: 'one', data: 'first' },
        { name: 'two', type: '1', link: 'one' },
        { name: 'two', data: 'second' },
      ]),
    expected: worked(/\.\/one=first/, /\.\/two=second/),
  },
  {
    what: 'a character device',
    bytes: () => tarOf([listing(), { name: mark, type: '3' }]),
    expected: refused(/is a device node/),
  },
  {
    what: 'a block device',
    bytes: () => tarOf([listing(), { name: mark, type: '4' }]),
    expected: refused(/is a device node/),
  },
  {
    what: 'a named pipe as Dockerfile',
    bytes: () => tarOf([{ name: 'Dockerfile', type: '6' }]),
    expected: refused(/"Dockerfile" is a named pipe/),
  },
  {
    what: 'a hostile archive that ADD unpacks',
    bytes: () =>
      tarOf([
        dockerfile('ADD inner.tar /in/', 'RUN find / -xdev -name "*inner*" | sort'),
        {
          name: 'inner.tar',
          data: tarOf([
            { name: 'good.inner', data: 'x' },
            { name: 'l', type: '2', link: '/' },
            { name: `${up}tmp/slipway-inner-name`, data: 'x' },
          ]),
        },
      ]),
    expected: worked(/^\/in\/good\.inner$/m, /^\/in\/tmp\/slipway-inner-name$/m),
  },
  {
    what: '..\\ in a zip of DOS',
    type: 'application/zip',
    bytes: () => zipOf([{ name: `..\\..\\canary\\${mark}`, data: 'x' }]),
    expected: refused(/leads out of the source/),
  },
  {
    what: '../ in a zip',
    type: 'application/zip',
    bytes: () => zipOf([{ name: `../../canary/${mark}`, data: 'x', mode: 0o100644 }]),
    expected: refused(/leads out of the source/),
  },
  {
    what: 'a file through a link in a zip',
    type: 'application/zip',
    bytes: () =>
      zipOf([
        { name: 'out', data: '../../../canary', mode: 0o120777 },
        { name: `out/${mark}`, data: 'x' },
      ]),
    expected: refused(/through the symbolic link/),
  },
  {
    what: 'a device in a zip',
    type: 'application/zip',
    bytes: () => zipOf([{ name: mark, mode: 0o020666 }]),
    expected: refused(/is a device node/),
  },
];

const damagedOnes: Sample[] = [
  {
    what: 'a tar that ends in a member',
    bytes: () => tarOf([listing(), { name: 'big', data: 'x'.repeat(9000) }]).subarray(0, 5000),
    expected: refused(/ends in the middle/),
  },
  {
    what: 'a tar without its end',
    bytes: () => tarOf([listing()], false),
    expected: refused(/ends in the middle/),
  },
  {
    what: 'a gzip that ends early',
    type: 'application/gzip',
    bytes: () => halfOf(gzipSync(tarOf([listing(), { name: 'noise', data: noise(50_000) }]))),
    expected: refused(/damaged or ends in the middle/),
  },
  {
    what: 'a zip that ends early',
    type: 'application/zip',
    bytes: () => halfOf(zipOf([{ name: 'Dockerfile', data: noise(5000) }])),
    expected: refused(/zip archive cannot be unpacked/),
  },
  {
    what: 'a PNG',
    type: 'image/png',
    bytes: () => Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
    expected: refused(/no archive: its content type is "image\/png"/),
  },
  {
    what: 'a PNG that says it is octets',
    type: 'application/octet-stream',
    bytes: () => Buffer.concat([Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'), noise(3000)]),
    expected: refused(/./, 'dockerfileissue'),
  },
  {
    what: 'a PDF',
    type: 'application/pdf',
    bytes: () => Buffer.from('%PDF-1.4\n%\xe2\xe3\n'),
    expected: refused(/"application\/pdf"/),
  },
  {
    what: 'a web page',
    type: 'text/html',
    bytes: () => Buffer.from('<!doctype html><title>Sign in</title>'),
    expected: refused(/"text\/html"/),
  },
  {
    what: 'a gzip of a text',
    type: 'application/gzip',
    bytes: () => gzipSync('FROM scratch\n'.repeat(100)),
    expected: refused(/damaged or no tar archive/),
  },
  {
    what: 'an empty file',
    type: 'application/gzip',
    bytes: () => Buffer.alloc(0),
    expected: refused(/it is empty/),
  },
  {
    what: 'an empty Dockerfile',
    type: 'text/plain',
    bytes: () => Buffer.alloc(0),
    expected: refused(/empty|no instruction|FROM/i, 'dockerfileissue'),
  },
  {
    what: 'a bomb in gzip',
    type: 'application/gzip',
    bytes: () => bomb,
    expected: refused(/more than 250 times its size/, 'sourcetoolarge'),
  },
  {
    what: 'a bomb of overlapping zip members',
    type: 'application/zip',
    bytes: () => overlappingZip(400),
    expected: refused(/more than 250 times its size/, 'sourcetoolarge'),
  },
  {
    what: 'a zip member larger than it says',
    type: 'application/zip',
    bytes: () => zipOf([{ name: 'Dockerfile', data: 'FROM scratch\n'.repeat(1000), size: 20 }]),
    expected: refused(/zip archive cannot be unpacked/),
  },
  {
    what: 'a size of 8 GiB without the bytes',
    bytes: () => tarOf([listing(), { name: 'huge', data: 'x', size: 8 * 1024 ** 3 - 1 }]),
    expected: refused(/ends in the middle/),
  },
  {
    what: 'an impossible PAX size',
    bytes: () => tarOf([listing(), paxOf({ size: '99999999999999999999' }), { name: 'huge', data: 'x' }]),
    expected: refused(/impossible size/),
  },
  {
    what: 'a broken PAX header',
    bytes: () => tarOf([listing(), { name: 'p', type: 'x', data: '999 path=x\n' }, { name: 'y' }]),
    expected: refused(/extended header cannot be read/),
  },
  {
    what: 'a name of 5000 bytes',
    bytes: () => tarOf([listing(), paxOf({ path: 'n/'.repeat(2500) + mark }), { name: 'x' }]),
    expected: refused(/has a name that is too long/),
  },
  {
    what: 'a part of a name of 300 bytes',
    bytes: () => tarOf([listing(), paxOf({ path: 'n'.repeat(300) }), { name: 'x' }]),
    expected: refused(/has a name that is too long/),
  },
  {
    what: 'NUL in a name',
    bytes: () => tarOf([listing(), paxOf({ path: `a\0${mark}` }), { name: 'x' }]),
    expected: refused(/has a NUL in its name/),
  },
  {
    what: 'an encrypted zip',
    type: 'application/zip',
    bytes: () => zipOf([{ name: 'Dockerfile', data: 'FROM scratch', encrypted: true }]),
    expected: refused(/"Dockerfile" is encrypted\. Pack without a password/),
  },
  {
    what: 'a Dockerfile in the wrong case',
    bytes: () => tarOf([{ name: 'dockerfile', data: 'FROM scratch' }]),
    expected: refused(/\/Dockerfile/, 'dockerfilemissing'),
  },
  {
    what: 'a text that says it is a zip',
    type: 'application/zip',
    bytes: () => Buffer.from('FROM scratch\n'),
    expected: refused(/"application\/zip"/),
  },
];

const oddOnes: Sample[] = [
  {
    what: 'a name that is not UTF-8',
    bytes: () =>
      tarOf([
        dockerfile('COPY . /x', 'RUN cd /x && find . | od -c'),
        { name: Buffer.from('caf\xe9', 'latin1'), data: 'x' },
      ]),
    expected: worked(/c\s+a\s+f\s+351/),
  },
  {
    what: 'members of one name',
    bytes: () => tarOf([listing(), { name: 'same', data: 'first' }, { name: 'same', data: 'last' }]),
    expected: { log: [/\.\/same=last/], not: [/=first/] },
  },
  {
    what: 'names in two cases',
    bytes: () => tarOf([listing(), { name: 'readme', data: 'small' }, { name: 'README', data: 'large' }]),
    expected: worked(/\.\/README=large/, /\.\/readme=small/),
  },
  {
    what: 'unknown PAX records, and a global one that would rename',
    bytes: () =>
      tarOf([
        { ...paxOf({ path: 'renamed', comment: 'x' }), type: 'g' },
        listing(),
        paxOf({ 'SCHILY.xattr.user.x': 'y', mtime: '1e999', uid: '99999999999' }),
        { name: 'plain', data: 'kept' },
      ]),
    expected: { log: [/\.\/plain=kept/], not: [/renamed/] },
  },
  {
    what: 'a set-user-id file, which the engine makes an ordinary one',
    bytes: () =>
      tarOf([dockerfile('COPY . /x', 'RUN stat -c %a /x/suid'), { name: 'suid', data: 'x', mode: 0o4755 }]),
    expected: worked(/^755$/m),
  },
  {
    what: 'an archive in an archive',
    bytes: () => tarOf([listing(), { name: 'inner.zip', data: zipOf([{ name: `../${mark}`, data: 'x' }]) }]),
    expected: worked(/\.\/inner\.zip=PK/),
  },
  { what: 'a zip64', type: 'application/zip', bytes: () => zip64(), expected: worked(/\.\/sixty-four=yes/) },
  {
    what: 'a backslash in a zip of Unix',
    type: 'application/zip',
    bytes: () =>
      zipOf([
        { name: 'Dockerfile', data: String(listing().data), mode: 0o100644 },
        { name: '..\\name', data: 'kept', mode: 0o100644 },
      ]),
    expected: worked(/\.\.\\name/),
  },
  {
    what: 'a zip that says it is a gzip',
    type: 'application/gzip',
    bytes: () =>
      zipOf([
        { name: 'Dockerfile', data: String(listing().data) },
        { name: 'f', data: 'found' },
      ]),
    expected: worked(/\.\/f=found/),
  },
  {
    what: 'a gzip that says it is a text',
    type: 'text/plain',
    bytes: () => gzipSync(tarOf([listing(), { name: 'f', data: 'found' }])),
    expected: worked(/\.\/f=found/),
  },
  {
    what: 'a tar in zstd that says nothing',
    type: 'application/octet-stream',
    bytes: () => zstdCompressSync(tarOf([listing(), { name: 'f', data: 'found' }])),
    expected: worked(/\.\/f=found/),
  },
];

let bomb: Buffer;
beforeAll(async () => {
  bomb = await promisify(gzip)(tarOf([{ name: 'zeros', data: Buffer.alloc(280 * 1024 ** 2) }]), { level: 6 });
});

function halfOf(bytes: Buffer): Buffer {
  return bytes.subarray(0, Math.floor(bytes.length / 2));
}

function noise(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => (index * 7919 + (index >> 3) * 104_729) % 251));
}

/** One member's data, named many times in the directory: small in the file, huge when unpacked. */
function overlappingZip(count: number): Buffer {
  const one = zipOf([{ name: 'a0000', data: Buffer.alloc(1 << 20) }]);
  const end = one.length - 22;
  const start = one.readUInt32LE(end + 16);
  const record = one.subarray(start, end);
  const records = Array.from({ length: count }, (_, index) => {
    const copy = Buffer.from(record);
    copy.write(`a${String(index).padStart(4, '0')}`, 46);
    return copy;
  });
  const tail = Buffer.from(one.subarray(end));
  tail.writeUInt16LE(count, 8);
  tail.writeUInt16LE(count, 10);
  tail.writeUInt32LE(record.length * count, 12);
  return Buffer.concat([one.subarray(0, start), ...records, tail]);
}

/** A zip whose sizes, offsets and counts all stand in the 64-bit fields. */
function zip64(): Buffer {
  const members = [
    { name: 'Dockerfile', data: Buffer.from(String(listing().data)) },
    { name: 'sixty-four', data: Buffer.from('yes') },
  ];
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, data } of members) {
    const plain = zipOf([{ name, data, mode: 0o100644 }]);
    const packed = deflateRawSync(data);
    const local = plain.subarray(0, 30 + name.length + packed.length);
    const central = Buffer.from(plain.subarray(local.length, plain.length - 22));
    central.fill(0xff, 20, 28);
    central.writeUInt16LE(28, 30);
    central.fill(0xff, 42, 46);
    const extra = Buffer.alloc(28);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(24, 2);
    extra.writeBigUInt64LE(BigInt(data.length), 4);
    extra.writeBigUInt64LE(BigInt(packed.length), 12);
    extra.writeBigUInt64LE(BigInt(offset), 20);
    locals.push(local);
    directory.push(central, extra);
    offset += local.length;
  }
  const records = Buffer.concat(directory);
  const end = Buffer.alloc(56 + 20 + 22, 0);
  end.write('PK\x06\x06', 0, 'latin1');
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(45, 12);
  end.writeUInt16LE(45, 14);
  end.writeBigUInt64LE(BigInt(members.length), 24);
  end.writeBigUInt64LE(BigInt(members.length), 32);
  end.writeBigUInt64LE(BigInt(records.length), 40);
  end.writeBigUInt64LE(BigInt(offset), 48);
  end.write('PK\x06\x07', 56, 'latin1');
  end.writeBigUInt64LE(BigInt(offset + records.length), 64);
  end.writeUInt32LE(1, 72);
  end.write('PK\x05\x06', 76, 'latin1');
  end.fill(0xff, 84, 96);
  return Buffer.concat([...locals, records, end]);
}

/** Every file on this machine's disks whose name has the mark in it. */
async function marked(): Promise<string[]> {
  const found: string[] = [];
  const searched = new Set<number>();
  for (const root of ['/', '/tmp', server.data]) {
    const { dev } = await stat(root);
    if (searched.has(dev)) continue;
    searched.add(dev);
    // Files of others come and go meanwhile, which is an error to find, but not to us.
    const { stdout } = await execFileAsync('find', [root, '-xdev', '-name', `*${mark}*`]).catch(
      (error: { stdout: string }) => error,
    );
    found.push(...stdout.split('\n').filter((line) => line !== ''));
  }
  return found;
}

async function run(sample: Sample): Promise<Outcome> {
  const repository = `hostile/${sample.what
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')}`;
  const file_id = await upload(server, sample.bytes(), sample.type ?? 'application/x-tar');
  return await build(server, repository, { file_id, no_cache: true });
}

function check({ expected }: Sample, { view, text }: Outcome): void {
  const said = `${view.phase} ${view.error_code} ${view.error}\n${text}`;
  if ('code' in expected) {
    expect(view.phase, said).toBe('error');
    expect(view.error_code, said).toBe(expected.code);
    expect(view.error).toMatch(expected.message);
    return;
  }
  expect(view.phase, said).toBe('complete');
  for (const pattern of expected.log) expect(text).toMatch(pattern);
  for (const pattern of expected.not ?? []) expect(text).not.toMatch(pattern);
}

describe.each([
  ['a way out', escapes],
  ['damaged, or something else', damagedOnes],
  ['odd, but fine', oddOnes],
])('%s', (_title, samples) => {
  test.concurrent.each(samples.map((sample) => [sample.what, sample] as const))(
    '%s',
    async (_what, sample) => {
      check(sample, await run(sample));
    },
  );
});

test('a context of 100,000 files works', { timeout: 180_000 }, async () => {
  const members: TarMember[] = [dockerfile('COPY d7 d299 /x/', 'RUN find /x -type f | wc -l')];
  for (let index = 0; index < 100_000; index += 1)
    members.push({ name: `d${index % 300}/f${index}`, data: `${index}` });
  const file_id = await upload(server, gzipSync(tarOf(members), { level: 1 }), 'application/gzip');
  const started = performance.now();
  const { view, text } = await build(server, 'hostile/many-files', { file_id }, 170);
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  console.info(`100,000 files: ${seconds} s from request to published image`);
  expect(view.phase, `${view.error}\n${text}`).toBe('complete');
  // 334 and 333 of them: the engine's own copying is not what is timed here.
  expect(text).toMatch(/^667$/m);
});

test('nothing was ever written outside of a workspace, and the server is well', async () => {
  // Proof that the search finds what it looks for.
  const bait = join(server.data, `bait-${mark}`);
  await writeFile(bait, '');
  expect(await marked()).toEqual([bait]);
  await rm(bait);
  await until('the end of the workspaces', async () => {
    const left = (await readdir(join(server.data, 'workers'))).filter((name) => /^[0-9a-f-]{36}$/.test(name));
    return left.length === 0;
  });
  for (const name of ['absolute', 'inner']) expect(existsSync(`/tmp/slipway-${name}-name`)).toBe(false);
  expect(await readdir(canary)).toEqual(['file']);
  expect(await readFile(join(canary, 'file'), 'utf8')).toBe(canaryText);
  expect(server.pid).toBe(pid);
  const health = await server.fetch('/health/instance');
  expect(health.status, await health.text()).toBe(200);
});
