import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { CodedError, messageOf } from '../base/coded-error.ts';
import type { TlsMaterial } from './one-port.ts';
import type { RpcLog } from './status.ts';

/**
 * - unreadable: a file is missing or may not be read
 * - unusable: it is no PEM, or the key is not the certificate's
 */
export type TlsFilesErrorCode = 'unreadable' | 'unusable';

export class TlsFilesError extends CodedError<TlsFilesErrorCode> {}

export interface TlsFilesOptions {
  /** Paths of PEM files. */
  readonly certificate: string;
  readonly key: string;
  readonly clock: Clock;
  readonly log: RpcLog;
  /** Milliseconds between two looks at the files. */
  readonly every?: number;
}

/**
 * A certificate and its key in files that are replaced while the server runs. Looking at what is in them, rather than
 * at events of the file system, also sees a mounted secret that changes by a symbolic link. While the two do not fit
 * each other, because one was replaced a moment before the other, the former ones stay in use.
 */
export class TlsFiles {
  readonly #options: TlsFilesOptions;
  readonly #stopping = new AbortController();
  #watching: Promise<void> | undefined;
  #current: TlsMaterial | undefined;
  #complaint: string | undefined;

  constructor(options: TlsFilesOptions) {
    this.#options = options;
  }

  /** Reads both files. Throws TlsFilesError. */
  async load(): Promise<TlsMaterial> {
    const material = await this.#read();
    this.#take(material);
    return material;
  }

  /** Calls `renew` whenever there are others than those that were loaded last. */
  watch(renew: (material: TlsMaterial) => void | Promise<void>): void {
    this.#watching ??= this.#watch(renew);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #watch(renew: (material: TlsMaterial) => void | Promise<void>): Promise<void> {
    const { clock, log, every = 5_000 } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(every, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        const material = await this.#read();
        if (material.key === this.#current?.key && material.cert === this.#current.cert) continue;
        this.#take(material);
        this.#complaint = undefined;
        await renew(material);
        const { subject, validTo } = new X509Certificate(material.cert);
        log.info({ subject, validTo }, 'another TLS certificate is in use');
      } catch (thrown) {
        this.#complain(thrown);
      }
    }
  }

  /** Once for each thing that is wrong. */
  #complain(thrown: unknown): void {
    const complaint = messageOf(thrown);
    if (complaint === this.#complaint) return;
    this.#complaint = complaint;
    this.#options.log.error(
      { err: thrown },
      'the TLS files changed and cannot be used; the former stay in use',
    );
  }

  async #read(): Promise<TlsMaterial> {
    const { certificate, key } = this.#options;
    // One after the other, so that of two that cannot be read it is always the certificate that is told.
    return { cert: await readTlsFile(certificate), key: await readTlsFile(key) };
  }

  /** Makes it the current one if it can be used. */
  #take(material: TlsMaterial): void {
    const { certificate, key, clock, log } = this.#options;
    try {
      createSecureContext(material);
      const { validTo } = new X509Certificate(material.cert);
      if (Date.parse(validTo) < clock.now()) log.warn({ validTo }, 'the TLS certificate has expired');
    } catch (cause) {
      throw new TlsFilesError(
        'unusable',
        `${certificate} and ${key} are no TLS certificate with its key (${messageOf(cause)}). Both must be PEM, the key without a password, and belong together.`,
        cause,
      );
    }
    this.#current = material;
  }
}

async function readTlsFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new TlsFilesError(
      'unreadable',
      `The TLS file ${file} cannot be read (${messageOf(cause)}). Check its path and who may read it.`,
      cause,
    );
  }
}
