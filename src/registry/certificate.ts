import { type KeyObject, randomBytes, sign } from 'node:crypto';

/**
 * A self-signed X.509 certificate around a P-256 key, in DER. docker-registry trusts a token's signer only by a
 * certificate, and Node can read certificates but not make them. Nobody checks this one's names or its end: it
 * is pinned by both sides and is valid from a day before `now` to the end of the year 9999.
 */
export function selfSignedCertificate({
  commonName,
  privateKey,
  publicKey,
  now,
}: {
  commonName: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  now: number;
}): Buffer {
  const algorithm = sequence(objectId('1.2.840.10045.4.3.2'));
  const name = sequence(set(sequence(objectId('2.5.4.3'), element(0x0c, Buffer.from(commonName, 'utf8')))));
  const body = sequence(
    element(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([0x01]), randomBytes(15)])),
    algorithm,
    name,
    sequence(generalizedTime(now - 86_400_000), generalizedTime(Date.UTC(9999, 11, 31, 23, 59, 59))),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
    element(0xa3, sequence(basicConstraints(), keyUsage())),
  );
  const signature = sign('sha256', body, privateKey);
  return sequence(body, algorithm, element(0x03, Buffer.concat([Buffer.from([0]), signature])));
}

/** DER in PEM's armour. */
export function pemOf(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** Critical: this is an authority, of a chain that ends with it. */
function basicConstraints(): Buffer {
  const isAuthority = element(0x01, Buffer.from([0xff]));
  return criticalExtension('2.5.29.19', sequence(isAuthority, integer(Buffer.from([0]))));
}

/** Critical: digitalSignature (bit 0) and keyCertSign (bit 5). */
function keyUsage(): Buffer {
  return criticalExtension('2.5.29.15', element(0x03, Buffer.from([2, 0b1000_0100])));
}

function criticalExtension(id: string, value: Buffer): Buffer {
  return sequence(objectId(id), element(0x01, Buffer.from([0xff])), element(0x04, value));
}

function element(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag]), lengthOf(content.length), content]);
}

function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

function set(part: Buffer): Buffer {
  return element(0x31, part);
}

/** A positive integer, given big-endian without a leading sign bit. */
function integer(bytes: Buffer): Buffer {
  return element(0x02, bytes);
}

function objectId(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return element(0x06, Buffer.from(bytes));
}

/** `YYYYMMDDHHMMSSZ`. Readers accept it for years before 2050 too. */
function generalizedTime(milliseconds: number): Buffer {
  const text = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, '');
  return element(0x18, Buffer.from(text, 'ascii'));
}
