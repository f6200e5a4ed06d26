import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, test } from 'vitest';
import { faultOfPrivateKey, faultOfToken, sealableCredentials, splitSecrets } from './source-credentials.ts';

const folder = mkdtempSync(join(tmpdir(), 'slipway-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

function keyFile(name: string, ...options: string[]): string {
  const file = join(folder, name);
  execFileSync('ssh-keygen', ['-q', ...options, '-f', file]);
  return readFileSync(file, 'utf8');
}

test('credentials are kept among the secrets of a build and come apart from them', () => {
  const own = [{ id: 'npm', value: Buffer.from('x') }];
  const credentials = { privateKey: 'KEY', token: 'TOKEN' };
  const { secrets, credentials: back } = splitSecrets([...own, ...sealableCredentials(credentials)]);
  expect(secrets).toEqual(own);
  expect(back).toEqual(credentials);
  expect(splitSecrets(own)).toEqual({ secrets: own, credentials: {} });
});

describe('faultOfPrivateKey', () => {
  it('takes keys that ssh can use alone', () => {
    for (const options of [
      ['-t', 'ed25519'],
      ['-t', 'rsa', '-b', '2048'],
      ['-t', 'rsa', '-b', '2048', '-m', 'PEM'],
      ['-t', 'ecdsa', '-m', 'PKCS8'],
    ]) {
      const key = keyFile(options.join(''), ...options, '-N', '');
      expect(faultOfPrivateKey(key)).toBeUndefined();
      expect(faultOfPrivateKey(key.replaceAll('\n', '\r\n').trim())).toBeUndefined();
    }
  });

  it('tells those with a passphrase', () => {
    for (const options of [
      ['-t', 'ed25519'],
      ['-t', 'rsa', '-b', '2048', '-m', 'PEM'],
      ['-t', 'rsa', '-b', '2048', '-m', 'PKCS8'],
    ])
      expect(faultOfPrivateKey(keyFile(`locked${options.join('')}`, ...options, '-N', 'secret'))).toContain(
        'passphrase',
      );
  });

  it.each([
    '',
    'ssh-ed25519 AAAA comment',
    '-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----',
    '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----',
    `-----BEGIN OPENSSH PRIVATE KEY-----\n${'A'.repeat(20_000)}\n-----END OPENSSH PRIVATE KEY-----`,
  ])('refuses %#', (text) => expect(faultOfPrivateKey(text)).toEqual(expect.any(String)));
});

test('a token is one word', () => {
  expect(faultOfToken('glpat-abc_DEF.1')).toBeUndefined();
  for (const text of ['', 'a b', 'a\r\nb', 'ä', 'x'.repeat(5000)])
    expect(faultOfToken(text)).toEqual(expect.any(String));
});
