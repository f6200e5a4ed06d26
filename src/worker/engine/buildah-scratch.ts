import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../base/coded-error.ts';
import { scratchFiles } from './buildah-command.ts';
import { registriesConf } from './buildah-home.ts';
import type { DockerfileFacts } from './dockerfile-check.ts';
import { cutAfterStage } from './dockerfile-target.ts';
import type { EngineBuild, RegistryCredentials } from './engine.ts';
import { EngineError } from './engine-error.ts';

/** The files buildah is given for one command: credentials, and which registries need no TLS. */
export async function writeScratch(
  scratchDir: string,
  credentials: readonly RegistryCredentials[],
  insecure: readonly string[],
  authorities?: string,
): Promise<void> {
  const files = scratchFiles(scratchDir);
  const auths = Object.fromEntries(
    credentials.map(({ registry, username, password }) => [
      registry,
      { auth: Buffer.from(`${username}:${password}`).toString('base64') },
    ]),
  );
  try {
    await writeFile(files.authFile, JSON.stringify({ auths }), { mode: 0o600 });
    await writeFile(files.registriesConf, registriesConf(insecure), { mode: 0o600 });
    if (authorities !== undefined) {
      await mkdir(files.certificates, { recursive: true, mode: 0o700 });
      await writeFile(join(files.certificates, 'ca.crt'), authorities, { mode: 0o600 });
    }
  } catch (thrown) {
    throw fileFailure(thrown);
  }
}

export async function readScratch(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch((thrown) => {
    throw fileFailure(thrown);
  });
}

/** buildah parses `--secret` as a list: a comma in a path would begin another field. */
export function checkSecrets({ secrets }: EngineBuild): void {
  for (const { id, path } of secrets) {
    if (/[,"\n]/.test(path) || !/^[\w.-]+$/.test(id)) {
      throw new EngineError(
        'dockerfileissue',
        `The build secret ${JSON.stringify(id)} cannot be given to buildah: ids hold letters, digits, ".", "_" and "-".`,
      );
    }
  }
}

/** The same request, such that labels come to its target: see cutAfterStage. */
export async function labelled(request: EngineBuild, facts: DockerfileFacts): Promise<EngineBuild> {
  const { target, labels, dockerfile, scratchDir } = request;
  if (target === undefined || labels.size === 0) return request;
  const cut = cutAfterStage(facts, target);
  if (cut === undefined) return request;
  const copy = join(scratchDir, 'Dockerfile');
  await writeFile(copy, cut).catch((thrown: unknown) => {
    throw fileFailure(thrown);
  });
  const own = `${dockerfile}.dockerignore`;
  const hasOwn = await stat(own).then(
    (found) => found.isFile(),
    () => false,
  );
  return {
    ...request,
    dockerfile: copy,
    ...(hasOwn && request.ignoreFile === undefined ? { ignoreFile: own } : {}),
  };
}

export function fileFailure(thrown: unknown): EngineError {
  const full =
    thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOSPC' || thrown.code === 'EDQUOT');
  return full
    ? new EngineError('diskfull', `The disk of the build machine is full: ${messageOf(thrown)}`, thrown)
    : new EngineError('enginefailed', `The engine's folders cannot be used: ${messageOf(thrown)}`, thrown);
}
