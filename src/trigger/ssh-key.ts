import { generateKeyPairSync, randomBytes } from 'node:crypto';

/** A key pair as OpenSSH writes them: one line, and a PEM-like text without passphrase. */
export interface SshKey {
  readonly publicKey: string;
  readonly privateKey: string;
}

const type = 'ssh-ed25519';

/**
 * A fresh ed25519 key. `comment` has no line breaks. The private half is in OpenSSH's own form (PROTOCOL.key of its
 * sources), the only one in which it reads ed25519 keys everywhere.
 */
export function newSshKey(comment: string): SshKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const point = rawHalf(publicKey.export({ format: 'jwk' }).x);
  const seed = rawHalf(privateKey.export({ format: 'jwk' }).d);
  const publicBlob = Buffer.concat([field(type), field(point)]);
  const check = randomBytes(4);
  const secret = padded(
    Buffer.concat([
      check,
      check,
      field(type),
      field(point),
      field(Buffer.concat([seed, point])),
      field(comment),
    ]),
  );
  const one = Buffer.of(0, 0, 0, 1);
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    one,
    field(publicBlob),
    field(secret),
  ]);
  const lines = file.toString('base64').match(/.{1,70}/g) ?? [];
  return {
    publicKey: `${type} ${publicBlob.toString('base64')} ${comment}`,
    privateKey: [
      '-----BEGIN OPENSSH PRIVATE KEY-----',
      ...lines,
      '-----END OPENSSH PRIVATE KEY-----',
      '',
    ].join('\n'),
  };
}

function rawHalf(text: string | undefined): Buffer {
  return Buffer.from(text ?? '', 'base64url');
}

/** A string of the SSH protocol: its length, then its bytes. */
function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** To whole blocks of 8, with 1, 2, 3 … */
function padded(bytes: Buffer): Buffer {
  const missing = (8 - (bytes.length % 8)) % 8;
  return Buffer.concat([bytes, Buffer.from(Array.from({ length: missing }, (_, index) => index + 1))]);
}
