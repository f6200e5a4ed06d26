import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** A certificate and its key: paths of PEM files, and what is in them. */
export interface Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly certificate: string;
  readonly key: string;
}

/** Whom a certificate is for: Kubernetes takes the common name for the user and organizations for groups. */
export interface Subject {
  readonly user: string;
  readonly group?: string;
}

/** The certificate authority of one control plane, for servers and clients, good for a day. */
export class CertificateAuthority {
  readonly file: string;
  readonly pem: string;
  readonly #folder: string;
  readonly #key: string;
  #issued = 0;

  private constructor(folder: string, file: string, key: string, pem: string) {
    this.#folder = folder;
    this.file = file;
    this.#key = key;
    this.pem = pem;
  }

  static async create(folder: string): Promise<CertificateAuthority> {
    const [file, key] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
    const subject = ['-subj', '/CN=slipway-test-kubernetes', '-days', '1'];
    await run('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', file, ...subject]);
    return new CertificateAuthority(folder, file, key, await readFile(file, 'utf8'));
  }

  /** For a server on the loopback. */
  async forServer(name: string, addresses: readonly string[] = []): Promise<Certificate> {
    const names = ['DNS:localhost', 'IP:127.0.0.1', ...addresses];
    return await this.#issue({ user: name }, 'serverAuth', [`subjectAltName=${names.join(',')}`]);
  }

  async forClient(subject: Subject): Promise<Certificate> {
    return await this.#issue(subject, 'clientAuth', []);
  }

  async #issue(subject: Subject, usage: string, extensions: readonly string[]): Promise<Certificate> {
    const base = join(this.#folder, `issued-${++this.#issued}`);
    const [certificateFile, keyFile, request] = [`${base}.crt`, `${base}.key`, `${base}.csr`];
    const group = subject.group === undefined ? '' : `/O=${subject.group}`;
    await run('openssl', [
      ...['req', ...kind, '-keyout', keyFile, '-out', request, '-subj', `${group}/CN=${subject.user}`],
    ]);
    await writeFile(`${base}.ext`, [`extendedKeyUsage=${usage}`, ...extensions, ''].join('\n'));
    await run('openssl', [
      ...['x509', '-req', '-in', request, '-CA', this.file, '-CAkey', this.#key, '-days', '1'],
      // Not -CAcreateserial: its file would be shared by certificates that are issued at the same time.
      ...['-set_serial', `${Date.now()}${this.#issued}`, '-extfile', `${base}.ext`, '-out', certificateFile],
    ]);
    const [certificate, key] = await Promise.all([
      readFile(certificateFile, 'utf8'),
      readFile(keyFile, 'utf8'),
    ]);
    return { certificateFile, keyFile, certificate, key };
  }
}
