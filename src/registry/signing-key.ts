import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { calculateJwkThumbprint } from 'jose';
import type { Clock } from '../base/clock.ts';
import { pemOf, selfSignedCertificate } from './certificate.ts';

/** The ES256 key that signs registry tokens, and the certificate that docker-registry knows it by. */
export interface SigningKey {
  /** RFC 7638 thumbprint of the public key. */
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly certificatePem: string;
  /** One entry of a token's `x5c` header: DER in base64. */
  readonly certificateBase64: string;
}

const commonName = 'Slipway registry tokens';
const keyFile = 'registry-token.key.pem';
const certificateFile = 'registry-token.crt.pem';

/**
 * Reads the key pair of a folder, and makes what is missing: the folder (0700), the key and its certificate
 * (0600). A key survives a lost certificate; a certificate of another key is replaced.
 */
export async function loadSigningKey(folder: string, clock: Clock): Promise<SigningKey> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const privateKey = await loadPrivateKey(path.join(folder, keyFile));
  const publicKey = createPublicKey(privateKey);
  return await signingKey(
    privateKey,
    await loadCertificate(path.join(folder, certificateFile), privateKey, publicKey, clock),
  );
}

/** A key pair as text, for those who keep it elsewhere than in a folder. */
export interface SigningKeyPem {
  readonly privateKey: string;
  readonly certificate: string;
}

export function newSigningKey(clock: Clock): SigningKeyPem {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const der = selfSignedCertificate({ commonName, privateKey, publicKey, now: clock.now() });
  return {
    privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    certificate: pemOf(der),
  };
}

export async function readSigningKey({ privateKey, certificate }: SigningKeyPem): Promise<SigningKey> {
  return await signingKey(createPrivateKey(privateKey), new X509Certificate(certificate));
}

async function signingKey(privateKey: KeyObject, certificate: X509Certificate): Promise<SigningKey> {
  const publicKey = createPublicKey(privateKey);
  return {
    kid: await calculateJwkThumbprint(publicKey.export({ format: 'jwk' })),
    privateKey,
    publicKey,
    certificatePem: pemOf(certificate.raw),
    certificateBase64: certificate.raw.toString('base64'),
  };
}

/** A secret that follows from the key: the same at every start, useless for finding the key. */
export function derivedSecret(key: SigningKey, purpose: string): string {
  const secret = key.privateKey.export({ format: 'der', type: 'pkcs8' });
  return Buffer.from(hkdfSync('sha256', secret, '', `slipway ${purpose}`, 32)).toString('hex');
}

async function loadPrivateKey(file: string): Promise<KeyObject> {
  const stored = await readIfThere(file);
  if (stored !== undefined) return createPrivateKey(stored);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writePrivately(file, privateKey.export({ format: 'pem', type: 'pkcs8' }));
  return privateKey;
}

async function loadCertificate(
  file: string,
  privateKey: KeyObject,
  publicKey: KeyObject,
  clock: Clock,
): Promise<X509Certificate> {
  const stored = await readIfThere(file);
  const known = stored === undefined ? undefined : parseCertificate(stored);
  if (known?.publicKey.equals(publicKey)) return known;
  const der = selfSignedCertificate({ commonName, privateKey, publicKey, now: clock.now() });
  await writePrivately(file, pemOf(der));
  return new X509Certificate(der);
}

function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** All or nothing: a crash in the middle leaves no half-written key behind. */
async function writePrivately(file: string, content: string | Buffer): Promise<void> {
  const draft = `${file}.${process.pid}.new`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
