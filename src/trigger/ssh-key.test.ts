import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { newSshKey } from './ssh-key.ts';

test('OpenSSH reads the private half and finds the public one in it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-key-'));
  try {
    // Every length of padding.
    for (let length = 1; length <= 8; length += 1) {
      const key = newSshKey('c'.repeat(length));
      const file = join(folder, `key-${length}`);
      writeFileSync(file, key.privateKey, { mode: 0o600 });
      expect(execFileSync('ssh-keygen', ['-y', '-f', file], { encoding: 'utf8' }).trim()).toBe(key.publicKey);
      expect(execFileSync('ssh-keygen', ['-l', '-f', file], { encoding: 'utf8' })).toMatch(
        /^256 SHA256:.*ED25519/,
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('no key is like another', () => {
  expect(newSshKey('a').privateKey).not.toBe(newSshKey('a').privateKey);
});
