import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { orderFor } from '../executor.suite.ts';
import { userData } from './user-data.ts';
import type { WorkerMachine } from './worker-machine.ts';

/** Every kind of machine, with values that quote, expand and escape. */
const awkward = `it's "a" $(reboot) \${TOKEN} \`x\` %n \\ #; & | < > *`;
const kinds = (['docker', 'podman'] as const).flatMap((containerRuntime) =>
  [false, true].map(
    (full): WorkerMachine => ({
      image: 'registry.example.com/slipway/worker',
      tag: 'latest',
      containerRuntime,
      maxLifetime: 10_800_000,
      sshAuthorizedKeys: full ? [`ssh-ed25519 AAAA ${awkward}`] : [],
      authorities: full ? ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'] : [],
      proxies: full ? { HTTP_PROXY: `http://${awkward}`, NO_PROXY: '.local' } : {},
      debug: !full,
      ...(full ? { imageCredentials: { username: awkward, password: `${awkward}!` } } : {}),
    }),
  ),
);
const order = { ...orderFor(awkward), registryHost: 'registry.example.com:5000' };
const names = kinds.map(({ containerRuntime, debug }) => `${containerRuntime}${debug ? ' with DEBUG' : ''}`);
const machines = kinds.map((machine, index) => [names[index] ?? '', machine] as const);

const has = (program: string) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;

describe('what a machine is told', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-ignition-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test.runIf(has('ignition-validate')).each(machines)('is valid to Ignition: %s', async (_name, machine) => {
    const path = join(folder, 'config.ign');
    await writeFile(path, userData('burst', machine, order));
    const { status, stdout, stderr } = spawnSync('ignition-validate', [path], { encoding: 'utf8' });
    expect(`${stdout}${stderr}`).toBe('');
    expect(status).toBe(0);
  });

  test.each(machines)('has scripts that a shell reads: %s', (_name, machine) => {
    for (const [path, content] of filesOf(machine)) {
      if (!path.startsWith('/usr/local/sbin/')) continue;
      const { status, stderr } = spawnSync('bash', ['-n'], { input: content, encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
    }
  });

  test.runIf(has('systemd-analyze')).each(machines)(
    'has units that systemd reads: %s',
    async (_name, machine) => {
      const { systemd } = JSON.parse(userData('burst', machine, order)) as {
        systemd: { units: { name: string; contents: string }[] };
      };
      const units = await mkdtemp(join(folder, 'units-'));
      for (const { name, contents } of systemd.units) await writeFile(join(units, name), contents);
      const own = ['quay-builder.service', 'disable-metadata.service', 'machine-lifetime.service'];
      const { stderr } = spawnSync(
        'systemd-analyze',
        [
          'verify',
          '--man=no',
          '--generators=no',
          '--recursive-errors=no',
          ...own.map((name) => join(units, name)),
        ],
        { encoding: 'utf8', env: { ...process.env, SYSTEMD_UNIT_PATH: `${units}:` } },
      );
      const said = stderr.split('\n').filter((line) => own.some((name) => line.includes(name)));
      // Its engine and its keys' service are on the machine, not here.
      expect(said.filter((line) => !/not found|Failed to (add|load)|not executable/.test(line))).toEqual([]);
    },
  );

  test.each(machines)('hands its values to the engine as they are: %s', async (_name, machine) => {
    const root = await mkdtemp(join(folder, 'root-'));
    const moved = (text: string) =>
      text
        .replaceAll('/etc/slipway/', `${root}/`)
        .replaceAll('/root/overrides.list', `${root}/overrides.list`)
        .replaceAll('command -v update-ca-trust', 'false');
    for (const [path, content] of filesOf(machine)) {
      if (/^\/etc\/slipway\/|overrides\.list$/.test(path)) await writeFile(moved(path), content);
    }
    // An engine that writes down what it is given.
    const engine = join(root, 'bin', machine.containerRuntime);
    await mkdir(join(root, 'bin'));
    await writeFile(
      engine,
      `#!/bin/bash\nprintf '%s\\0' "$@" > "${root}/$1.args"\n[ "$1" = login ] && cat > "${root}/password-given"\nprintf %s "\${HTTP_PROXY-}" > "${root}/proxy"\nexit 0\n`,
    );
    await chmod(engine, 0o755);
    const script = new Map(filesOf(machine)).get('/usr/local/sbin/slipway-run-worker') ?? '';
    const { status, stderr } = spawnSync('bash', [], {
      input: moved(script),
      encoding: 'utf8',
      env: { PATH: `${root}/bin:/usr/bin:/bin` },
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const given = async (name: string) =>
      (await readFile(join(root, `${name}.args`), 'utf8')).split('\0').slice(0, -1);
    const run = await given('run');
    expect(run.at(-1)).toBe('registry.example.com/slipway/worker:latest');
    expect(run).toContain('--privileged');
    expect(run).toContain(`--env-file=${root}/overrides.list`);
    expect(run.some((word) => word.endsWith(':/var/run/docker.sock'))).toBe(true);
    expect(run.some((word) => word.endsWith(':/certs/cacert.crt:ro'))).toBe(machine.authorities.length > 0);
    expect(await readFile(join(root, 'proxy'), 'utf8')).toBe(machine.proxies.HTTP_PROXY ?? '');
    if (machine.imageCredentials === undefined) return;
    expect(await given('login')).toEqual([
      'login',
      `--username=${awkward}`,
      '--password-stdin',
      'registry.example.com',
    ]);
    expect(await readFile(join(root, 'password-given'), 'utf8')).toBe(`${awkward}!\n`);
  });
});

function filesOf(machine: WorkerMachine): [string, string][] {
  const { storage } = JSON.parse(userData('burst', machine, order)) as {
    storage: { files: { path: string; contents: { source: string; compression?: string } }[] };
  };
  return storage.files.map(({ path, contents }) => {
    const bytes = Buffer.from(contents.source.split(',')[1] ?? '', 'base64');
    return [path, (contents.compression === 'gzip' ? gunzipSync(bytes) : bytes).toString('utf8')];
  });
}
