import { describe, expect, test } from 'vitest';
import { readWorkerConfig, WorkerConfigError } from './config.ts';

const fallback = { home: '/home/w', path: '/bin' };
const least = { SERVER: 'manager:8080', TOKEN: 't' };
const read = (env: Record<string, string>) => readWorkerConfig({ ...least, ...env }, fallback);

test('the least environment', () => {
  expect(read({})).toEqual({
    server: 'manager:8080',
    token: 't',
    tls: {},
    engine: 'auto',
    isolation: 'auto',
    stateFolder: '/home/w/.local/share/slipway-worker',
    debug: false,
    path: '/bin',
    network: {},
  });
});

test('everything that may be set', () => {
  expect(
    read({
      SERVER: '[::1]:55443',
      BUILD_UUID: 'b',
      TLS_CERT_PATH: '/certs/ca.crt',
      CA_CERT: 'PEM',
      REGISTRY_HOSTNAME: 'registry:443',
      BUILDAH_ISOLATION: 'chroot',
      BUILD_ENGINE: 'Buildah',
      DEBUG: 'TRUE',
      HTTPS_PROXY: 'http://proxy:3128',
      NO_PROXY: 'localhost',
      SLIPWAY_WORKSPACE: '/work',
      SLIPWAY_STATE_DIR: '/state',
      PATH: '/usr/bin',
      AWS_SECRET_ACCESS_KEY: 'not read',
    }),
  ).toEqual({
    server: '[::1]:55443',
    token: 't',
    buildId: 'b',
    tls: { caFile: '/certs/ca.crt', ca: 'PEM' },
    registryHost: 'registry:443',
    isolation: 'chroot',
    engine: 'buildah',
    debug: true,
    network: { HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'localhost' },
    workspace: '/work',
    stateFolder: '/state',
    path: '/usr/bin',
  });
});

test('the environment that executors of this protocol give a container is taken as it is', () => {
  expect(
    read({
      BUILD_UUID: 'b',
      SERVER: 'manager.example.com:55443',
      REGISTRY_HOSTNAME: 'registry.example.com',
      CONTAINER_RUNTIME: 'podman',
      BULDAH_ISOLATION: 'chroot',
      CA_CERT: '',
      GIT_SSL_CAINFO: '/certs/cacert.crt',
      TLS_CERT_PATH: '/certs/cacert.crt',
      SSL_CERT_FILE: '/certs/cacert.crt',
      DEBUG: 'False',
      HTTP_PROXY: '',
      HTTPS_PROXY: 'http://proxy:3128',
      NO_PROXY: '',
      DOCKER_HOST: 'unix:///tmp/podman-run-1000/podman/podman.sock',
      EXECUTOR: 'kubernetesPodman',
    }),
  ).toMatchObject({
    server: 'manager.example.com:55443',
    engine: 'auto',
    isolation: 'chroot',
    tls: { caFile: '/certs/cacert.crt' },
    debug: false,
    network: {
      HTTPS_PROXY: 'http://proxy:3128',
      SSL_CERT_FILE: '/certs/cacert.crt',
      GIT_SSL_CAINFO: '/certs/cacert.crt',
    },
  });
});

test.each([
  ['chroot', 'chroot'],
  ['rootless', 'namespaces'],
  ['oci', 'namespaces'],
])('isolation %s, also under the misspelt name', (value, isolation) => {
  expect(read({ BUILDAH_ISOLATION: value }).isolation).toBe(isolation);
  expect(read({ BULDAH_ISOLATION: value }).isolation).toBe(isolation);
});

test('INSECURE means clear text', () => {
  expect(read({ INSECURE: 'true', TLS_CERT_PATH: '/x' })).not.toHaveProperty('tls');
  expect(read({ INSECURE: 'false' })).toHaveProperty('tls');
});

describe('refuses, naming the variable', () => {
  test.each([
    ['SERVER', ''],
    ['SERVER', 'host'],
    ['SERVER', 'http://host:80'],
    ['TOKEN', ' '],
    ['INSECURE', 'maybe'],
    ['DEBUG', 'verbose'],
    ['BUILD_ENGINE', 'spade'],
    ['BUILDAH_ISOLATION', 'none'],
    ['SLIPWAY_WORKSPACE', 'relative'],
  ])('%s=%j', (name, value) => {
    expect(() => read({ [name]: value })).toThrow(WorkerConfigError);
    expect(() => read({ [name]: value })).toThrow(name);
  });

  test('all of them at once, and no value', () => {
    const env = { SERVER: '', TOKEN: 'secret-token', DEBUG: 'secret-debug' };
    expect(() => readWorkerConfig(env, fallback)).toThrow(/SERVER.*DEBUG/);
    expect(() => readWorkerConfig(env, fallback)).not.toThrow(/secret/);
  });
});
