import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { orderFor } from '../executor.suite.ts';
import type { WorkerOrder } from '../executor.ts';
import { ExecutorError } from '../executor-error.ts';
import { userData } from './user-data.ts';
import type { WorkerMachine } from './worker-machine.ts';

interface Ignition {
  readonly ignition: { readonly version: string };
  readonly passwd: {
    readonly users: readonly { name: string; groups: string[]; sshAuthorizedKeys: string[] }[];
  };
  readonly storage: {
    readonly files: readonly {
      path: string;
      mode: number;
      overwrite: boolean;
      contents: { source: string; compression?: string };
    }[];
  };
  readonly systemd: { readonly units: readonly { name: string; enabled: boolean; contents: string }[] };
}

const plain: WorkerMachine = {
  image: 'registry.example.com/slipway/worker',
  tag: '1.0',
  containerRuntime: 'docker',
  maxLifetime: 10_800_000,
  sshAuthorizedKeys: [],
  authorities: [],
  proxies: {},
  debug: false,
};
const order: WorkerOrder = {
  ...orderFor('token'),
  server: 'builds.example.com:55443',
  registryHost: 'reg.example.com:5000',
};

function read(json: string) {
  const parsed = JSON.parse(json) as Ignition;
  const files = new Map(
    parsed.storage.files.map(({ path, contents }) => {
      const bytes = Buffer.from(contents.source.replace('data:;base64,', ''), 'base64');
      return [path, (contents.compression === 'gzip' ? gunzipSync(bytes) : bytes).toString('utf8')];
    }),
  );
  const modes = new Map(parsed.storage.files.map(({ path, mode }) => [path, mode]));
  const units = new Map(parsed.systemd.units.map(({ name, contents }) => [name, contents]));
  return { parsed, files, modes, units };
}

const machineOf = (changes: Partial<WorkerMachine> = {}, changed: Partial<WorkerOrder> = {}) =>
  read(userData('burst', { ...plain, ...changes }, { ...order, ...changed }));

describe('the user data of a machine', () => {
  test('has its order in a file that only root reads', () => {
    const proxies = { HTTP_PROXY: 'http://p:1', HTTPS_PROXY: 'http://p:2', NO_PROXY: '.local' };
    const { parsed, files, modes } = machineOf({ proxies });
    expect(parsed.ignition.version).toBe('3.0.0');
    expect(modes.get('/root/overrides.list')).toBe(0o600);
    expect(files.get('/root/overrides.list')?.split('\n')).toEqual([
      'TOKEN=token',
      'SERVER=builds.example.com:55443',
      'INSECURE=true',
      `BUILD_UUID=${order.buildId}`,
      'REGISTRY_HOSTNAME=reg.example.com:5000',
      'EXECUTOR=burst',
      `SLIPWAY_ATTEMPT=${order.attemptId}`,
      'CONTAINER_RUNTIME=docker',
      'DOCKER_HOST=unix:///var/run/docker.sock',
      'HTTP_PROXY=http://p:1',
      'HTTPS_PROXY=http://p:2',
      'NO_PROXY=.local',
      '',
    ]);
    expect(files.get('/etc/hostname')).toBe(`${order.buildId}\n`);
    expect(files.get('/etc/zincati/config.d/90-disable-auto-updates.toml')).toContain('enabled = false');
    expect(files.get('/etc/containers/registries.conf')).toContain('short-name-mode = "permissive"');
    expect(files.get('/usr/local/sbin/slipway-block-metadata')).toContain('169.254.169.254');
  });

  test('lets the keys in as core, who may become root', () => {
    const { parsed } = machineOf({ sshAuthorizedKeys: ['ssh-ed25519 AAAA ann'] });
    expect(parsed.passwd.users).toEqual([
      { name: 'core', groups: ['sudo'], sshAuthorizedKeys: ['ssh-ed25519 AAAA ann'] },
    ]);
  });

  test.each([
    ['docker', '/etc/docker/certs.d'],
    ['podman', '/etc/containers/certs.d'],
  ] as const)(
    'has the authorities for the machine, for %s and for the worker',
    (containerRuntime, folder) => {
      const { files } = machineOf({ containerRuntime, authorities: ['ONE\n', 'TWO'] });
      expect(files.get('/etc/pki/ca-trust/source/anchors/cacert.crt')).toBe('ONE\nTWO\n');
      expect(files.get(`${folder}/reg.example.com:5000/ca.crt`)).toBe('ONE\nTWO\n');
      expect(files.get('/root/overrides.list')).toMatch(/^TLS_CERT_PATH=\/certs\/cacert\.crt$/m);
      expect(files.get('/usr/local/sbin/slipway-run-worker')).toContain(':/certs/cacert.crt:ro');
    },
  );

  test('powers off after its worker and after its time, with DEBUG only after its time', () => {
    const { units } = machineOf();
    expect([...units.keys()]).toEqual([
      'quay-builder.service',
      'disable-metadata.service',
      'systemd-journal-gatewayd.socket',
      'machine-lifetime.service',
    ]);
    expect(units.get('quay-builder.service')).toMatch(
      /^ExecStopPost=.*sleep 120; systemctl --no-block poweroff/m,
    );
    expect(units.get('machine-lifetime.service')).toMatch(/^ExecStart=.*sleep 10800; systemctl/m);
    const debug = machineOf({ debug: true });
    expect(debug.units.get('quay-builder.service')).not.toContain('poweroff');
    expect(debug.units.get('machine-lifetime.service')).toMatch(/^ExecStart=.*sleep 10800; systemctl/m);
    expect(debug.files.get('/root/overrides.list')).toMatch(/^DEBUG=true$/m);
  });

  test('fits into what EC2 takes, with three authorities and a long token', () => {
    // As good as a certificate: a kilobyte that does not get smaller.
    const pem = () =>
      `-----BEGIN CERTIFICATE-----\n${Buffer.from(Array.from({ length: 750 }, () => Math.floor(Math.random() * 256))).toString('base64')}\n-----END CERTIFICATE-----\n`;
    const json = userData(
      'burst',
      { ...plain, authorities: [pem(), pem(), pem()] },
      { ...order, token: 'x'.repeat(900) },
    );
    expect(Buffer.byteLength(json)).toBeLessThan(16_384);
  });
});

/** What means something to JSON, to units, to shells, to environment files, to paths, or to terminals. */
const hostile = fc
  .array(
    fc.constantFrom(
      '\n',
      '\r',
      '\t',
      '\0',
      '"',
      "'",
      '\\',
      '%',
      '%n',
      '%%',
      '$',
      `\${TOKEN}`,
      '$(reboot)',
      '`reboot`',
      ';',
      '#',
      '=',
      '[Service]',
      '\nExecStart=/bin/false',
      '\u2028',
      '\u0085',
      '\ud800',
      '..',
      '/',
      '../../etc/passwd',
      ' ',
      '-',
      '--privileged',
      ':',
      'a',
      'ü',
      '💥',
      '{',
      '}',
      ',',
      'TOKEN=x',
      '\u001b[31m',
      '&',
      '|',
      '<',
      '>',
      '*',
      '?',
      '~',
      '!',
    ),
    { maxLength: 8 },
  )
  .map((parts) => parts.join(''));
const value = fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 30 }), fc.constant('plain'));
const lists = fc.array(value, { maxLength: 3 });

const machines = fc.record({
  image: fc.oneof(fc.constant('reg.example.com/worker'), value),
  tag: fc.oneof(fc.constant('latest'), value),
  imageCredentials: fc.option(fc.record({ username: value, password: value }), { nil: undefined }),
  containerRuntime: fc.constantFrom('docker' as const, 'podman' as const),
  sshAuthorizedKeys: lists,
  authorities: lists,
  proxies: fc.record({ HTTP_PROXY: value, NO_PROXY: value }, { requiredKeys: [] }),
  debug: fc.boolean(),
});
const orders = fc.record({
  token: value,
  server: value,
  buildId: value,
  registryHost: fc.oneof(fc.constant('reg.example.com'), value),
});

describe('values that nobody should have', () => {
  test('stay data: what cannot be handed on is refused, all else arrives as it is and changes nothing beside itself', () => {
    let accepted = 0;
    fc.assert(
      fc.property(machines, orders, value, (given, changed, executor) => {
        const { imageCredentials, ...rest } = given;
        const machine: WorkerMachine = {
          ...plain,
          ...rest,
          ...(imageCredentials === undefined ? {} : { imageCredentials }),
        };
        const hostileOrder = { ...order, ...changed } as WorkerOrder;
        let json: string;
        try {
          json = userData(executor, machine, hostileOrder);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(ExecutorError);
          expect(thrown).toMatchObject({ code: 'misconfigured' });
          return;
        }
        accepted += 1;
        // The whole is plain ASCII but for keys, so nobody on the way takes it for anything else.
        const { files, units, parsed, modes } = read(json);
        const { containerRuntime, debug, authorities, proxies } = machine;
        const known = read(
          userData(
            'e',
            {
              ...plain,
              containerRuntime,
              debug,
              authorities: authorities.length > 0 ? ['CA'] : [],
              ...(imageCredentials === undefined
                ? {}
                : { imageCredentials: { username: 'u', password: 'p' } }),
            },
            { ...order, registryHost: hostileOrder.registryHost },
          ),
        );
        // Units and scripts are those of any other machine of the kind, and so are all paths and modes.
        expect(units).toEqual(known.units);
        expect(modes).toEqual(known.modes);
        for (const script of ['/usr/local/sbin/slipway-run-worker', '/usr/local/sbin/slipway-block-metadata'])
          expect(files.get(script)).toBe(known.files.get(script));
        for (const path of files.keys()) expect(path.split('/')).not.toContain('..');
        const environment = files.get('/root/overrides.list') ?? '';
        const names = [...(known.files.get('/root/overrides.list') ?? '').matchAll(/^([A-Z_]+)=/gm)].map(
          ([, name]) => name,
        );
        const lines = environment.split('\n').slice(0, -1);
        expect(lines.map((line) => line.slice(0, line.indexOf('=')))).toEqual([
          ...names,
          ...Object.keys(proxies),
        ]);
        const read_ = new Map(
          lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
        );
        expect(Object.fromEntries(read_)).toMatchObject({
          TOKEN: hostileOrder.token,
          SERVER: hostileOrder.server,
          BUILD_UUID: hostileOrder.buildId,
          EXECUTOR: executor,
          ...proxies,
        });
        if (imageCredentials !== undefined) {
          expect(files.get('/etc/slipway/registry-username')).toBe(`${imageCredentials.username}\n`);
          expect(files.get('/etc/slipway/registry-password')).toBe(`${imageCredentials.password}\n`);
        }
        expect(parsed.passwd.users[0]?.sshAuthorizedKeys).toEqual(machine.sshAuthorizedKeys);
      }),
      { numRuns: 2_000 },
    );
    // The property says something only when not everything is refused.
    expect(accepted).toBeGreaterThan(50);
  });

  test.each<[string, Partial<WorkerMachine>, Partial<WorkerOrder>]>([
    ['a second line in the token', {}, { token: 'secret-words\nSERVER=evil:1' }],
    ['a second line in a proxy', { proxies: { HTTP_PROXY: 'http://secret-words\nX=1' } }, {}],
    ['a zero byte', {}, { server: 'secret-words\0' }],
    ['half a character', {}, { server: 'secret-words\ud800' }],
    ['a variable that is none', { proxies: { 'secret-words=1\nY': '' } }, {}],
    ['an image that is an option', { image: '--secret-words' }, {}],
    ['a tag that is two words', { tag: '1 secret-words' }, {}],
    ['a registry that is a path', {}, { registryHost: '../../secret-words' }],
    ['a key of two lines', { sshAuthorizedKeys: ['secret-words\nssh-rsa AAAA evil'] }, {}],
    ['a password of two lines', { imageCredentials: { username: 'u', password: 'secret-words\n' } }, {}],
    ['a lifetime that is no time', { maxLifetime: Number.NaN }, {}],
  ])('%s is refused, and not repeated', (_what, changes, changed) => {
    let refused: unknown;
    try {
      machineOf(changes, changed);
    } catch (thrown) {
      refused = thrown;
    }
    expect(refused).toMatchObject({ name: 'ExecutorError', code: 'misconfigured' });
    expect(String(refused)).not.toContain('secret-words');
  });
});
