import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { LogEntry } from '../../src/log/log-store.ts';
import { type SlipwayServer, until } from './slipway-server.ts';

const run = promisify(execFile);

export interface BuildView {
  readonly id: string;
  readonly phase: string;
  readonly error: string | null;
  readonly error_code: string | null;
  readonly digest: string | null;
  readonly tags: readonly string[];
  readonly [key: string]: unknown;
}

export const finalPhases: ReadonlySet<string> = new Set([
  'complete',
  'error',
  'internalerror',
  'expired',
  'cancelled',
]);

/** Uploads bytes as any client does, and returns the file id. */
export async function uploadFile(server: SlipwayServer, file: string, mimeType: string): Promise<string> {
  const drop = await server.json<{ url: string; file_id: string }>('POST', '/api/v1/filedrop/', { mimeType });
  const response = await fetch(new URL(drop.url, server.url), {
    method: 'PUT',
    body: await readFile(file),
    headers: { 'content-type': mimeType },
  });
  if (!response.ok) throw new Error(`PUT ${drop.url}: ${response.status} ${await response.text()}`);
  return drop.file_id;
}

/** Packs a folder with the tools everybody has: ours is not what is tested here. */
export async function packFolder(
  folder: string,
  kind: 'tar.gz' | 'tar' | 'zip',
  to: string,
): Promise<string> {
  if (kind === 'zip') {
    await run('python3', ['-c', zipScript, folder, to]);
    return 'application/zip';
  }
  await run('tar', [kind === 'tar' ? '-cf' : '-czf', to, '-C', folder, '.']);
  return kind === 'tar' ? 'application/x-tar' : 'application/gzip';
}

const zipScript = `
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as z:
    for folder, _, files in os.walk(sys.argv[1]):
        for name in files:
            path = os.path.join(folder, name)
            z.write(path, os.path.relpath(path, sys.argv[1]))
`;

export async function createRepository(
  server: SlipwayServer,
  namespace: string,
  repository: string,
): Promise<void> {
  const response = await server.fetch('/api/v1/repository', {
    method: 'POST',
    body: JSON.stringify({ namespace, repository, visibility: 'private', description: '' }),
    headers: { 'content-type': 'application/json' },
  });
  if (!response.ok && response.status !== 409 && response.status !== 400)
    throw new Error(`cannot create ${namespace}/${repository}: ${response.status} ${await response.text()}`);
}

export async function waitForEnd(
  server: SlipwayServer,
  repository: string,
  id: string,
  seconds = 110,
): Promise<BuildView> {
  return await until(
    `the end of build ${id} of ${repository}`,
    async () => {
      const view = await server.json<BuildView>('GET', `/api/v1/repository/${repository}/build/${id}`);
      return finalPhases.has(view.phase) ? view : undefined;
    },
    seconds,
  );
}

export async function readLog(server: SlipwayServer, repository: string, id: string): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for (;;) {
    const page = await server.json<{ start: number; total: number; logs: LogEntry[] }>(
      'GET',
      `/api/v1/repository/${repository}/build/${id}/logs?start=${entries.length}`,
    );
    entries.push(...page.logs);
    if (page.logs.length === 0 || entries.length >= page.total) return entries;
  }
}

/** The config of an image as a registry client gets it; raw, because the converted form drops HEALTHCHECK and ONBUILD. */
export async function imageConfig(server: SlipwayServer, image: string): Promise<Record<string, unknown>> {
  const { stdout } = await run('skopeo', [
    'inspect',
    '--config',
    '--raw',
    '--tls-verify=false',
    '--creds',
    `$oauthtoken:${server.token}`,
    `docker://${server.host}/${image}`,
  ]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

export async function imageDigest(server: SlipwayServer, image: string): Promise<string> {
  const { stdout } = await run('skopeo', [
    'inspect',
    '--format',
    '{{.Digest}}',
    '--tls-verify=false',
    '--creds',
    `$oauthtoken:${server.token}`,
    `docker://${server.host}/${image}`,
  ]);
  return stdout.trim();
}
