import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SecretBox, SecretBoxError } from './secret-box.ts';

const key = randomBytes(32);
const secret = Buffer.from('a secret');

function codeOf(work: () => unknown): unknown {
  try {
    work();
  } catch (thrown) {
    return thrown instanceof SecretBoxError ? thrown.code : thrown;
  }
  return undefined;
}

describe('SecretBox', () => {
  it('opens what it sealed, any bytes', () => {
    const box = new SecretBox({ key });
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), (bytes, purpose) => {
        expect(Buffer.from(box.open(box.seal(bytes, purpose), purpose))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('seals the same secret differently each time', () => {
    const box = new SecretBox({ key });
    expect(Buffer.from(box.seal(secret, 'a'))).not.toEqual(Buffer.from(box.seal(secret, 'a')));
  });

  it('does not open for another purpose, nor when any byte was changed', () => {
    const box = new SecretBox({ key });
    const sealed = box.seal(secret, 'one');
    expect(codeOf(() => box.open(sealed, 'two'))).toBe('tampered');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(['tampered', 'unknown-key']).toContain(codeOf(() => box.open(changed, 'one')));
    }
    expect(codeOf(() => box.open(sealed.subarray(0, 20), 'one'))).toBe('tampered');
  });

  it('opens with a former key after rotation, and not without it', () => {
    const sealed = new SecretBox({ key }).seal(secret, 'a');
    const next = randomBytes(32);
    expect(Buffer.from(new SecretBox({ key: next, former: [key] }).open(sealed, 'a'))).toEqual(secret);
    expect(codeOf(() => new SecretBox({ key: next }).open(sealed, 'a'))).toBe('unknown-key');
  });

  it('refuses a short key', () => {
    expect(codeOf(() => new SecretBox({ key: randomBytes(16) }))).toBe('bad-key');
  });
});
