import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fingerprintOf } from './access.ts';
import { type ConnectionOptions, openConnection } from './connection.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-kubernetes-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const none: ConnectionOptions = {
  server: undefined,
  kubeconfig: undefined,
  ca: undefined,
  certificate: undefined,
  verifyTls: true,
  token: undefined,
  tokenFile: undefined,
};

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test('a server without a scheme is spoken to by TLS', async () => {
  expect(await openConnection({ ...none, server: 'api.example.com:6443', token: () => 'abc' })()).toEqual({
    server: 'https://api.example.com:6443',
    headers: { authorization: 'Bearer abc' },
    tls: { rejectUnauthorized: true },
  });
});

test('a token file is read again when it rotates, and its line end is no part of the token', async () => {
  const connection = openConnection({ ...none, server: 'api:6443', tokenFile: file('token', 'one\n') });
  expect((await connection()).headers).toEqual({ authorization: 'Bearer one' });
  file('token', 'two\n');
  expect((await connection()).headers).toEqual({ authorization: 'Bearer two' });
});

test('connections of an old certificate are not used again', async () => {
  const certificate = { certificate: file('crt', 'CERT'), key: file('key', 'KEY') };
  const connection = openConnection({ ...none, server: 'api:6443', certificate, verifyTls: false });
  const before = await connection();
  expect(before.tls).toEqual({ cert: 'CERT', key: 'KEY', rejectUnauthorized: false });
  file('crt', 'CERT2');
  expect(fingerprintOf(await connection())).not.toBe(fingerprintOf(before));
});

test.each(['', 'a b', 'a\nb: c', 'ü'])('a token that cannot be one is not told (%j)', async (token) => {
  const asked = openConnection({ ...none, server: 'api:6443', token: () => token })();
  await expect(asked).rejects.toMatchObject({ code: 'misconfigured' });
  if (token !== '')
    await expect(asked).rejects.not.toMatchObject({ message: expect.stringContaining(token) });
});

test('a pod finds the API and its own account', async () => {
  file('ca.crt', 'CA');
  file('token', 'pods-own');
  const inCluster = { host: 'fd00::1', port: '443', folder };
  expect(await openConnection({ ...none, inCluster })()).toEqual({
    server: 'https://[fd00::1]:443',
    headers: { authorization: 'Bearer pods-own' },
    tls: { ca: 'CA', rejectUnauthorized: true },
  });
});

test('outside of a cluster without a server, it says what to set', async () => {
  await expect(openConnection(none)()).rejects.toMatchObject({
    code: 'misconfigured',
    message: expect.stringContaining('K8S_API_SERVER'),
  });
});

test('a kubeconfig says all of it, and is read again when it changes', async () => {
  const config = (token: string) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
      clusters: [
        {
          name: 'k',
          cluster: {
            server: 'https://api.example.com:6443/',
            'certificate-authority-data': Buffer.from('CA').toString('base64'),
          },
        },
      ],
      users: [{ name: 'u', user: { token } }],
    });
  const connection = openConnection({ ...none, kubeconfig: file('kubeconfig', config('first')) });
  expect(await connection()).toEqual({
    server: 'https://api.example.com:6443',
    headers: { authorization: 'Bearer first' },
    tls: { ca: Buffer.from('CA'), rejectUnauthorized: true },
  });
  file('kubeconfig', config('second'));
  expect((await connection()).headers).toEqual({ authorization: 'Bearer second' });
  file('kubeconfig', '{{{');
  await expect(connection()).rejects.toMatchObject({ code: 'misconfigured' });
});
