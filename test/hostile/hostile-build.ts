import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type BuildView,
  createRepository,
  packFolder,
  readLog,
  uploadFile,
  waitForEnd,
} from '../harness/build-client.ts';
import type { SlipwayServer } from '../harness/slipway-server.ts';

/** What came of one build, with the text of its log. */
export interface Outcome {
  readonly view: BuildView;
  readonly text: string;
  readonly repository: string;
}

/** Asks for a path of the file drop. */
export async function fileDrop(
  server: SlipwayServer,
  mimeType: string,
): Promise<{ readonly url: string; readonly file_id: string }> {
  return await server.json('POST', '/api/v1/filedrop/', { mimeType });
}

export async function upload(
  server: SlipwayServer,
  bytes: Uint8Array<ArrayBuffer> | Buffer,
  mimeType: string,
): Promise<string> {
  const { url, file_id } = await fileDrop(server, mimeType);
  const response = await fetch(url, {
    method: 'PUT',
    body: new Uint8Array(bytes),
    headers: { 'content-type': mimeType },
  });
  if (!response.ok) throw new Error(`PUT: ${response.status} ${await response.text()}`);
  return file_id;
}

/** POSTs a build, whatever comes of it. The repository is made when it is not there. */
export async function requestBuild(
  server: SlipwayServer,
  repository: string,
  body: Readonly<Record<string, unknown>>,
): Promise<Response> {
  const [namespace = '', name = ''] = repository.split('/');
  await createRepository(server, namespace, name);
  return await server.fetch(`/api/v1/repository/${repository}/build/`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
}

export async function startBuild(
  server: SlipwayServer,
  repository: string,
  body: Readonly<Record<string, unknown>>,
): Promise<BuildView> {
  const response = await requestBuild(server, repository, body);
  const text = await response.text();
  if (response.status !== 201) throw new Error(`POST ${repository}: ${response.status} ${text}`);
  return JSON.parse(text) as BuildView;
}

export async function outcomeOf(
  server: SlipwayServer,
  repository: string,
  id: string,
  seconds = 110,
): Promise<Outcome> {
  const view = await waitForEnd(server, repository, id, seconds);
  const log = await readLog(server, repository, id);
  return { view, text: log.map(({ message }) => message).join('\n'), repository };
}

export async function build(
  server: SlipwayServer,
  repository: string,
  body: Readonly<Record<string, unknown>>,
  seconds = 110,
): Promise<Outcome> {
  const { id } = await startBuild(server, repository, body);
  return await outcomeOf(server, repository, id, seconds);
}

/** Uploads a context made of these files, and a static busybox. */
export async function uploadContext(
  server: SlipwayServer,
  files: Readonly<Record<string, string | Buffer>>,
  kind: 'tar' | 'tar.gz' | 'zip' = 'tar.gz',
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slipway-hostile-'));
  try {
    const context = join(folder, 'context');
    await mkdir(context);
    await copyFile('/bin/busybox', join(context, 'busybox'));
    for (const [name, text] of Object.entries(files)) await writeFile(join(context, name), text);
    const archive = join(folder, 'package');
    return await uploadFile(server, archive, await packFolder(context, kind, archive));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Builds an image with a shell, which the others start from, and gives its name. */
export async function buildBase(server: SlipwayServer, repository: string): Promise<string> {
  const file_id = await uploadContext(server, {
    Dockerfile: `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "mkdir -p /etc /tmp && /bin/busybox --install -s /bin"]
ENV PATH=/bin
`,
  });
  const { view } = await build(server, repository, { file_id });
  if (view.phase !== 'complete') throw new Error(`the base image ended in ${view.phase}: ${view.error}`);
  return `${server.host}/${repository}`;
}

/** A build whose Dockerfile is the whole context. */
export async function dockerfileBuild(
  server: SlipwayServer,
  repository: string,
  dockerfile: string,
  body: Readonly<Record<string, unknown>> = {},
): Promise<BuildView> {
  const file_id = await upload(server, Buffer.from(dockerfile), 'text/plain');
  return await startBuild(server, repository, { file_id, ...body });
}
