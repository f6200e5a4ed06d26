import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { derivedSecret, loadSigningKey } from './signing-key.ts';

const clock = new ManualClock(Date.UTC(2030, 0, 2));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'slipway-keys-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('loadSigningKey', () => {
  test('makes a key and a certificate that vouches for it', async () => {
    const key = await loadSigningKey(path.join(folder, 'keys'), clock);
    const certificate = new X509Certificate(key.certificatePem);
    expect(certificate.publicKey.equals(key.publicKey)).toBe(true);
    expect(certificate.verify(key.publicKey)).toBe(true);
    expect(certificate.ca).toBe(true);
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(new Date(certificate.validFrom).getTime()).toBe(Date.UTC(2030, 0, 1));
    expect(new Date(certificate.validTo).getUTCFullYear()).toBe(9999);
    expect(Buffer.from(key.certificateBase64, 'base64').equals(certificate.raw)).toBe(true);
  });

  test('openssl reads the certificate and finds its signature right', async () => {
    await loadSigningKey(folder, new ManualClock(Date.now()));
    const file = path.join(folder, 'registry-token.crt.pem');
    const text = execFileSync('openssl', ['x509', '-in', file, '-noout', '-text'], { encoding: 'utf8' });
    expect(text).toContain('Signature Algorithm: ecdsa-with-SHA256');
    expect(text).toContain('Digital Signature, Certificate Sign');
    expect(text).toContain('CA:TRUE, pathlen:0');
    expect(
      execFileSync('openssl', ['verify', '-x509_strict', '-check_ss_sig', '-CAfile', file, file], {
        encoding: 'utf8',
      }).trim(),
    ).toMatch(/OK$/);
  });

  test('only its owner can read the files', async () => {
    const keys = path.join(folder, 'keys');
    await loadSigningKey(keys, clock);
    expect((await stat(keys)).mode & 0o777).toBe(0o700);
    const files = await readdir(keys);
    expect(files.toSorted()).toEqual(['registry-token.crt.pem', 'registry-token.key.pem']);
    for (const file of files) expect((await stat(path.join(keys, file))).mode & 0o777).toBe(0o600);
  });

  test('is the same at the next start, even without its certificate', async () => {
    const first = await loadSigningKey(folder, clock);
    const second = await loadSigningKey(folder, clock);
    expect(second).toMatchObject({ kid: first.kid, certificatePem: first.certificatePem });
    await rm(path.join(folder, 'registry-token.crt.pem'));
    const third = await loadSigningKey(folder, clock);
    expect(third.kid).toBe(first.kid);
    expect(third.certificatePem).not.toBe(first.certificatePem);
  });

  test('replaces the certificate of another key, and one that cannot be read', async () => {
    const first = await loadSigningKey(path.join(folder, 'a'), clock);
    const other = await loadSigningKey(path.join(folder, 'b'), clock);
    for (const content of [other.certificatePem, 'not a certificate']) {
      await writeFile(path.join(folder, 'a', 'registry-token.crt.pem'), content);
      const again = await loadSigningKey(path.join(folder, 'a'), clock);
      expect(new X509Certificate(again.certificatePem).publicKey.equals(first.publicKey)).toBe(true);
    }
  });
});

test('a derived secret stays the same, and differs by purpose and key', async () => {
  const [a, b] = [
    await loadSigningKey(path.join(folder, 'a'), clock),
    await loadSigningKey(path.join(folder, 'b'), clock),
  ];
  expect(derivedSecret(a, 'x')).toBe(derivedSecret(a, 'x'));
  expect(new Set([derivedSecret(a, 'x'), derivedSecret(a, 'y'), derivedSecret(b, 'x')]).size).toBe(3);
  expect(derivedSecret(a, 'x')).toMatch(/^[0-9a-f]{64}$/);
});
