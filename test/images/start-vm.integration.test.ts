import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const script = resolve(import.meta.dirname, '../../deploy/vm/image/start-vm');

/** The start script of the virtual machine, with programs in QEMU's place that write down their arguments. */
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-start-vm-'));
  await mkdir(join(folder, 'bin'));
  for (const name of ['qemu-system-x86_64', 'qemu-img'])
    await writeFile(
      join(folder, 'bin', name),
      [
        '#!/bin/sh',
        // A try, whether KVM works: does it with this processor?
        `case "$*" in *' -S '*) case "$*" in *"-cpu $(cat '${folder}/kvm') "*) exit 0 ;; *) exit 134 ;; esac ;; esac`,
        `printf '%s\\0' "$@" >>'${folder}/${name}.arguments'`,
        `env -0 >'${folder}/${name}.environment'`,
        '',
      ].join('\n'),
      { mode: 0o755 },
    );
  // Stands for the device, and says which processor it can.
  await writeFile(join(folder, 'kvm'), 'host');
});

afterEach(async () => await rm(folder, { recursive: true }));

async function start(
  environment: Readonly<Record<string, string>>,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(script, {
    cwd: folder,
    env: {
      PATH: `${join(folder, 'bin')}:/usr/bin:/bin`,
      SLIPWAY_VM: '/vm',
      SLIPWAY_VM_STATE: join(folder, 'state'),
      SLIPWAY_KVM: join(folder, 'kvm'),
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

async function argumentsOf(program: string): Promise<string[]> {
  return (await readFile(join(folder, `${program}.arguments`), 'utf8')).split('\0').slice(0, -1);
}

const hostile = `{"a": "'; touch ${'/tmp'}/broken; '", "b": "$(id) \`id\` \\n %s %n", "c": ",file=/etc/shadow"}`;

test('QEMU gets the config as a file that nobody else reads, and nothing of it in its arguments or environment', async () => {
  const { code, output } = await start({ USERDATA: hostile });
  expect(code, output).toBe(0);
  const qemu = await argumentsOf('qemu-system-x86_64');
  const [, config = ''] = /^name=opt\/com\.coreos\/config,file=(.*)$/.exec(after(qemu, '-fw_cfg')) ?? [];
  expect(await readFile(config, 'utf8')).toBe(hostile);
  expect((await stat(config)).mode & 0o777).toBe(0o600);
  expect(qemu.join(' ')).not.toContain('touch');
  expect(await readFile(join(folder, 'qemu-system-x86_64.environment'), 'utf8')).not.toContain('touch');
  expect(output).not.toContain('touch');
  expect(existsSync('/tmp/broken')).toBe(false);
});

test('two processors, 4G and 32G by default, port 2222 for SSH, the hardware’s virtualization', async () => {
  const { output } = await start({ USERDATA: '{}' });
  const qemu = await argumentsOf('qemu-system-x86_64');
  expect(after(qemu, '-smp')).toBe('2');
  expect(after(qemu, '-m')).toBe('4G');
  expect(after(qemu, '-accel')).toBe('kvm');
  expect(after(qemu, '-netdev')).toBe('user,id=net0,hostfwd=tcp::2222-:22');
  const made = await argumentsOf('qemu-img');
  expect(made.slice(0, 2)).toEqual(['create', '-q']);
  expect(made).toContain('/vm/disk.qcow2');
  expect(made.at(-1)).toBe('32G');
  expect(after(qemu, '-drive')).toBe(`file=${made.at(-2)},if=virtio,format=qcow2,discard=unmap`);
  expect(output).not.toContain('Warning');
});

test.each([
  ['host', 'kvm', 'host'],
  ['host,-arch-capabilities', 'kvm', 'host,-arch-capabilities'],
  ['none', 'tcg,thread=multi', 'max'],
])('where KVM can %s: %s with the processor %s', async (can, accelerator, processor) => {
  await writeFile(join(folder, 'kvm'), can);
  const { code, output } = await start({ USERDATA: '{}' });
  expect(code, output).toBe(0);
  const qemu = await argumentsOf('qemu-system-x86_64');
  expect([after(qemu, '-accel'), after(qemu, '-cpu')]).toEqual([accelerator, processor]);
  expect(output.includes('Warning: /dev/kvm does not work')).toBe(can === 'none');
});

test('without a usable /dev/kvm the processor is emulated, with a warning', async () => {
  const { code, output } = await start({ USERDATA: '{}', SLIPWAY_KVM: join(folder, 'none', 'kvm') });
  expect(code).toBe(0);
  expect(after(await argumentsOf('qemu-system-x86_64'), '-accel')).toBe('tcg,thread=multi');
  expect(output).toContain('Warning: /dev/kvm cannot be opened');
});

test.each([
  ['512M', '512M'],
  ['4Gi', '4G'],
  ['2T', '2T'],
])('a size of %s is %s', async (given, taken) => {
  await start({ USERDATA: '{}', VM_MEMORY: given, VM_VOLUME_SIZE: given });
  expect(after(await argumentsOf('qemu-system-x86_64'), '-m')).toBe(taken);
  expect((await argumentsOf('qemu-img')).at(-1)).toBe(taken);
});

describe.each(['VM_MEMORY', 'VM_VOLUME_SIZE'])('%s is refused, and nothing started, when it is', (name) => {
  test.each([
    '4',
    '0G',
    '-1G',
    '4 G',
    '4G,slots=2',
    '4G -drive file=/etc/shadow',
    '$(id)G',
    '4G\n4G',
    '1.5G',
    '4k',
    '4GG',
    '99999999G',
    'G',
    '*',
  ])('%j', async (value) => {
    const { code, output } = await start({ USERDATA: '{}', [name]: value });
    expect(code).toBe(3);
    expect(output).toContain(`${name} must be a size such as 4G`);
    expect(existsSync(join(folder, 'qemu-system-x86_64.arguments'))).toBe(false);
  });
});

test('without a config, or with a folder that QEMU would read as options, it ends with 3', async () => {
  expect(await start({})).toMatchObject({ code: 3, output: expect.stringContaining('USERDATA is missing') });
  expect(await start({ USERDATA: '{}', SLIPWAY_VM_STATE: join(folder, 'a,readonly=on') })).toMatchObject({
    code: 3,
  });
  expect((await readdir(folder)).filter((name) => name.startsWith('a,'))).toEqual([]);
});

function after(words: readonly string[], word: string): string {
  return words[words.indexOf(word) + 1] ?? '';
}
