import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface OwnCertificate {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
  /** What is in `certificate`: it is its own authority. */
  readonly pem: string;
}

/** A self-signed certificate of this machine's loopback names and further addresses, good for a day, in a folder. */
export async function ownCertificate(
  folder: string,
  name = 'ssl',
  addresses: readonly string[] = [],
): Promise<OwnCertificate> {
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.cert`)];
  const names = ['DNS:localhost', ...['127.0.0.1', ...addresses].map((address) => `IP:${address}`)].join(',');
  const subject = ['-subj', '/CN=localhost', '-addext', `subjectAltName=${names}`];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  await run('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', certificate, ...subject]);
  return { certificate, key, pem: await readFile(certificate, 'utf8') };
}
