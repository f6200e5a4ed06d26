import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import type { TlsMaterial } from '../rpc/one-port.ts';
import type { TlsFiles } from '../rpc/tls-files.ts';
import type { DataFolder } from '../setup/data-folder.ts';

/** Where Debian and its relatives keep the authorities that the machine trusts. */
const systemBundle = '/etc/ssl/certs/ca-certificates.crt';

export interface WorkerAuthorities {
  /** Variables for every local worker. */
  readonly variables: Readonly<Record<string, string>>;
  /** Takes up another certificate, for workers that start from now on. */
  renew(tls: TlsMaterial): Promise<void>;
}

/**
 * When this server speaks TLS with a certificate of its own, its local workers must trust it: for gRPC, for sources,
 * and their engine for the registry. They get a file with the machine's authorities and that certificate, and the
 * variables that all of them read.
 */
export async function workerAuthorities(
  folder: DataFolder,
  tls: TlsFiles | undefined,
): Promise<WorkerAuthorities> {
  if (tls === undefined) return { variables: {}, renew: async () => {} };
  const machine = await readFile(systemBundle, 'utf8').catch(() => rootCertificates.join('\n'));
  const file = join(folder.workers, 'authorities.pem');
  const renew = async ({ cert }: TlsMaterial) => {
    await writeFile(`${file}.new`, `${machine.trimEnd()}\n${cert}`, { mode: 0o644 });
    await rename(`${file}.new`, file);
  };
  await renew(await tls.load());
  return {
    variables: {
      TLS_CERT_PATH: file,
      SSL_CERT_FILE: file,
      GIT_SSL_CAINFO: file,
      NODE_EXTRA_CA_CERTS: file,
    },
    renew,
  };
}
