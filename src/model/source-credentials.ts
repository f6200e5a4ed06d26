import { redactUrl } from './redact-url.ts';

/**
 * What opens a source that is not public. It is kept among the secrets of its build, sealed like them and dropped with
 * them, under ids that no build secret can have; the build itself never sees it.
 */

/** For a private git repository. */
export interface GitCredentials {
  /** A private key without passphrase, in any form that OpenSSH reads. */
  readonly privateKey?: string;
  /** The password for https. */
  readonly token?: string;
}

interface Secret {
  readonly id: string;
  readonly value: Uint8Array;
}

const privateKeyId = 'git:private-key';
const tokenId = 'git:token';
const archiveUrlId = 'archive:url';
const ids: ReadonlySet<string> = new Set([privateKeyId, tokenId, archiveUrlId]);

/** As secrets of a build. */
export function sealableCredentials({ privateKey, token }: GitCredentials): Secret[] {
  return [
    ...(privateKey === undefined ? [] : [{ id: privateKeyId, value: Buffer.from(privateKey) }]),
    ...(token === undefined ? [] : [{ id: tokenId, value: Buffer.from(token) }]),
  ];
}

/** The URL of an archive whose query may be what opens it: as it may be kept with the build, and the whole as a secret. */
export function sealableUrl(url: string): { readonly shown: string; readonly secrets: readonly Secret[] } {
  const shown = redactUrl(url);
  return { shown, secrets: shown === url ? [] : [{ id: archiveUrlId, value: Buffer.from(url) }] };
}

/** Tells the secrets that a build sees from what only fetching its source needs. */
export function splitSecrets<Each extends Secret>(
  all: readonly Each[],
): {
  readonly secrets: readonly Each[];
  readonly credentials: GitCredentials;
  readonly archiveUrl: string | undefined;
} {
  const text = (wanted: string): string | undefined => {
    const value = all.find(({ id }) => id === wanted)?.value;
    return value === undefined ? undefined : Buffer.from(value).toString();
  };
  const privateKey = text(privateKeyId);
  const token = text(tokenId);
  return {
    archiveUrl: text(archiveUrlId),
    secrets: all.filter(({ id }) => !ids.has(id)),
    credentials: {
      ...(privateKey === undefined ? {} : { privateKey }),
      ...(token === undefined ? {} : { token }),
    },
  };
}

const longestPrivateKey = 16_384;
const longestToken = 4096;

/** Why a text cannot be used as a private key, as the end of a sentence; undefined: it can, as far as can be seen. */
export function faultOfPrivateKey(text: string): string | undefined {
  if (text.length > longestPrivateKey) return `is longer than ${longestPrivateKey} characters`;
  const match = /^-----BEGIN ([A-Z ]*)PRIVATE KEY-----\n([\x20-\x7e\n]+)\n-----END \1PRIVATE KEY-----$/.exec(
    text.replaceAll('\r\n', '\n').trim(),
  );
  if (match === null) return 'is no private key; give the whole file, such as id_ed25519, not id_ed25519.pub';
  const [, kind = '', body = ''] = match;
  const locked = 'has a passphrase, which nobody can type in here; make one without (ssh-keygen -N "")';
  if (kind === 'ENCRYPTED ' || body.includes('ENCRYPTED')) return locked;
  if (kind !== 'OPENSSH ') return undefined;
  // magic, then a string with its length before it: how the key is encrypted
  const blob = Buffer.from(body, 'base64').toString('latin1');
  if (!blob.startsWith('openssh-key-v1\0')) return 'is broken: it is no OpenSSH key inside';
  return blob.startsWith('\0\0\0\x04none', 15) ? undefined : locked;
}

/** The same of a token, or of the user name that goes with it. */
export function faultOfToken(text: string): string | undefined {
  if (text === '') return 'is empty';
  if (text.length > longestToken) return `is longer than ${longestToken} characters`;
  return /^[\x21-\x7e]+$/.test(text) ? undefined : 'has a character that no token has';
}
