import { ContextError } from './context-error.ts';

/** What a request says about the place of its Dockerfile; an empty text counts as absent. */
export interface DockerfileRequest {
  readonly dockerfilePath?: string | undefined;
  readonly subdirectory?: string | undefined;
  readonly context?: string | undefined;
}

/**
 * Where the Dockerfile and the context are. Both are paths from the root of the source, start with `/`, and have
 * no `.`, `..`, double or final slash.
 */
export interface DockerfileLocation {
  readonly context: string;
  readonly dockerfilePath: string;
  /** The subdirectory as it was asked for; only there when it was. */
  readonly subdirectory?: string;
}

/** The build pack's form: `dockerfilePath` is relative to `context`. */
export interface BuildPackLocation {
  readonly context: string;
  readonly dockerfilePath: string;
}

const longestPath = 1024;
const longestName = 255;

/**
 * Only a Dockerfile path: the context is its folder. Only a subdirectory: the context is that folder and the
 * Dockerfile is `Dockerfile` in it. Only a context: `Dockerfile` in it. Nothing: `/` and `/Dockerfile`. With a
 * Dockerfile path a subdirectory says nothing; with a subdirectory a context says nothing.
 * Throws ContextError `bad-path`.
 */
export function locateDockerfile(request: DockerfileRequest): DockerfileLocation {
  const { dockerfilePath = '', subdirectory = '', context = '' } = request;
  const asked = subdirectory === '' ? {} : { subdirectory: normalisePath('subdirectory', subdirectory) };
  if (dockerfilePath !== '') {
    if (/\/\.?$/.test(dockerfilePath)) {
      throw new ContextError(
        'bad-path',
        'dockerfile_path names a folder. Give the path of the Dockerfile itself.',
      );
    }
    const path = normalisePath('dockerfile_path', dockerfilePath);
    if (path === '/') throw new ContextError('bad-path', 'dockerfile_path names no file.');
    return {
      context: context === '' ? folderOf(path) : normalisePath('context', context),
      dockerfilePath: path,
      ...asked,
    };
  }
  const folder = asked.subdirectory ?? normalisePath('context', context);
  return { context: folder, dockerfilePath: join(folder, 'Dockerfile'), ...asked };
}

/**
 * The form a worker gets. A Dockerfile that is not below the context moves the context: it becomes the
 * Dockerfile's folder.
 */
export function forBuildPack({ context, dockerfilePath }: DockerfileLocation): BuildPackLocation {
  const below = context === '/' ? '/' : `${context}/`;
  if (dockerfilePath.startsWith(below))
    return { context, dockerfilePath: dockerfilePath.slice(below.length) };
  const folder = folderOf(dockerfilePath);
  return { context: folder, dockerfilePath: dockerfilePath.slice(dockerfilePath.lastIndexOf('/') + 1) };
}

/** Makes any way of writing a path inside the source its one way, or throws ContextError `bad-path`. */
export function normalisePath(field: string, path: string): string {
  const refuse = (why: string): never => {
    throw new ContextError(
      'bad-path',
      `${field} ${why}. Give a path inside the source, such as /docker/Dockerfile.`,
    );
  };
  if (Buffer.byteLength(path) > longestPath) refuse(`is longer than ${longestPath} bytes`);
  if (/[\0-\x1f\x7f]/.test(path)) refuse('has a control character in it');
  if (path.includes('\\')) refuse('has a backslash in it');
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  for (const name of names) {
    if (name === '..') refuse('has ".." in it');
    if (Buffer.byteLength(name) > longestName) refuse(`has a name longer than ${longestName} bytes in it`);
  }
  return `/${names.join('/')}`;
}

function folderOf(path: string): string {
  const end = path.lastIndexOf('/');
  return end <= 0 ? '/' : path.slice(0, end);
}

function join(folder: string, name: string): string {
  return folder === '/' ? `/${name}` : `${folder}/${name}`;
}
