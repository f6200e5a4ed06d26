import { createHash } from 'node:crypto';
import Type, { type Static } from 'typebox';
import { cutText } from '../base/cut-text.ts';
import { locateDockerfile } from '../context/dockerfile-path.ts';
import type { EgressGuard } from '../egress/egress-guard.ts';
import type { BuildRequest, BuildSource } from '../model/build.ts';
import { parseUploadId } from '../model/ids.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import {
  faultOfPrivateKey,
  faultOfToken,
  type GitCredentials,
  sealableCredentials,
  sealableUrl,
} from '../model/source-credentials.ts';
import { escapeTag } from '../model/tag.ts';
import type { BuildSecret } from '../queue/build-queue.ts';
import type { StoredUpload } from '../upload/uploads.ts';
import { ApiError } from './api-error.ts';
import { checkGitUrl } from './git-url.ts';

const path = (description: string) => Type.Optional(Type.String({ maxLength: 1024, description }));

export const buildRequestSchema = Type.Object(
  {
    file_id: Type.Optional(Type.String({ description: 'An uploaded file, of POST /api/v1/filedrop/' })),
    archive_url: Type.Optional(
      Type.String({
        maxLength: 4096,
        description: 'A Dockerfile, tar, tar.gz or zip that http(s) can fetch',
      }),
    ),
    git: Type.Optional(
      Type.Object(
        {
          url: Type.String({
            maxLength: 2048,
            description:
              'https://…, without user name and password; or ssh://… or user@host:path, with a private_key',
          }),
          ref: Type.Optional(Type.String({ maxLength: 255, description: 'Branch, tag or full ref' })),
          sha: Type.Optional(Type.String({ description: 'A full commit id; wins over ref' })),
          private_key: Type.Optional(
            Type.String({
              maxLength: 20_000,
              description:
                'For ssh: without passphrase, in any form that OpenSSH reads. Kept sealed until the build ends',
            }),
          ),
          token: Type.Optional(
            Type.String({
              maxLength: 4096,
              description: 'For https: the password. Kept sealed until the build ends',
            }),
          ),
          username: Type.Optional(
            Type.String({
              maxLength: 255,
              description: 'Goes with the token; default: oauth2, at bitbucket.org x-token-auth',
            }),
          ),
          lfs: Type.Optional(
            Type.Boolean({ description: 'Fetch what Git LFS keeps; default: leave its pointers' }),
          ),
        },
        { description: 'A git repository' },
      ),
    ),
    dockerfile_path: path('Alone: its folder is the context'),
    subdirectory: path('The folder that is the context and has the Dockerfile'),
    context: path('The folder that COPY sees'),
    docker_tags: Type.Optional(
      Type.Array(Type.String({ maxLength: 1024 }), {
        minItems: 1,
        maxItems: 100,
        description: 'Default: latest. What a tag cannot hold becomes _',
      }),
    ),
    pull_robot: Type.Optional(
      Type.Union([Type.String({ maxLength: 512 }), Type.Null()], {
        description:
          'A robot of the repository’s namespace, which the build pulls base images as; for who administers the namespace',
      }),
    ),
    build_args: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 65536 }), { maxProperties: 1000 }),
    ),
    labels: Type.Optional(
      Type.Record(Type.String(), Type.String({ maxLength: 65536 }), { maxProperties: 1000 }),
    ),
    target: Type.Optional(Type.String({ maxLength: 255, description: 'The stage to stop at' })),
    platforms: Type.Optional(
      Type.Array(Type.String({ maxLength: 100 }), {
        maxItems: 20,
        description: 'os/architecture[/variant]; default: the platform of the worker',
      }),
    ),
    secrets: Type.Optional(
      Type.Record(Type.String(), Type.String(), {
        maxProperties: 100,
        description: 'id → value in base64, for RUN --mount=type=secret',
      }),
    ),
    no_cache: Type.Optional(Type.Boolean()),
    priority: Type.Optional(
      Type.Integer({ minimum: -1000, maximum: 1000, description: 'Superusers only; higher runs first' }),
    ),
    newest_only: Type.Optional(
      Type.Boolean({
        description:
          'Builds of the same thing that have not started end as cancelled, superseded by this one. The same thing: from the same git URL and ref (whatever their tags), or, without a ref, for the same tags; and the same Dockerfile, context, target, platforms, build arguments and labels, and pushed or not as this one',
      }),
    ),
    push: Type.Optional(Type.Boolean({ description: 'false: build only, publish nothing' })),
  },
  { title: 'BuildRequest' },
);

export type BuildRequestBody = Static<typeof buildRequestSchema>;

export interface RequestContext {
  readonly repository: RepositoryName;
  readonly username: string;
  readonly superuser: boolean;
  readonly egress: EgressGuard;
  /** Throws ApiError when the robot is none that this build may pull as. */
  readonly pullRobot: (name: string) => Promise<string>;
  readonly useUpload: (id: NonNullable<ReturnType<typeof parseUploadId>>) => Promise<StoredUpload>;
}

/** Turns what a client asked for into a request for the queue. Throws ApiError, ContextError, EgressError, UploadError. */
export async function parseBuildRequest(
  body: BuildRequestBody,
  context: RequestContext,
): Promise<{ request: BuildRequest; secrets: readonly BuildSecret[] }> {
  const priority = body.priority ?? 0;
  if (priority !== 0 && !context.superuser)
    throw new ApiError('insufficient_scope', 'Only superusers may set a priority. Leave it out.');
  const location = locateDockerfile({
    dockerfilePath: body.dockerfile_path,
    subdirectory: body.subdirectory,
    context: body.context,
  });
  const pullRobot =
    typeof body.pull_robot === 'string' ? await context.pullRobot(body.pull_robot) : undefined;
  const platforms = [...new Set(body.platforms ?? [])];
  for (const platform of platforms) requirePlatform(platform);
  if (platforms.length > 1)
    throw new ApiError(
      'invalid_request',
      'A build for several platforms at once cannot be published yet. Ask for one build a platform, each with tags of its own.',
    );
  requireNames('build_args', body.build_args, /^[A-Za-z_][A-Za-z0-9_.-]{0,254}$/);
  requireNames('labels', body.labels, /^[^\s=\p{Cc}]{1,255}$/u);
  if (body.target !== undefined && !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(body.target))
    throw new ApiError('invalid_request', '"target" is not the name of a stage.');
  const given = [...parseSecrets(body.secrets), ...sealableCredentials(parseGitCredentials(body.git))];
  const tags = [...new Set((body.docker_tags ?? ['latest']).map(escapeTag))];
  // Last, because it ties the upload to the repository.
  const { source, displayName, secrets = [] } = await parseSource(body, context);
  const request: BuildRequest = {
    repository: context.repository,
    source,
    context: location.context,
    dockerfilePath: location.dockerfilePath,
    ...(location.subdirectory === undefined ? {} : { subdirectory: location.subdirectory }),
    tags,
    displayName,
    platforms,
    buildArgs: body.build_args ?? {},
    labels: body.labels ?? {},
    ...(body.target === undefined ? {} : { target: body.target }),
    noCache: body.no_cache ?? false,
    push: body.push ?? true,
    manualUser: context.username,
    ...(pullRobot === undefined ? {} : { pullRobot }),
    priority,
  };
  return { request, secrets: [...given, ...secrets] };
}

async function parseSource(
  body: BuildRequestBody,
  { egress, useUpload }: RequestContext,
): Promise<{
  source: BuildSource;
  displayName: string;
  /** What opens it. */
  secrets?: readonly BuildSecret[];
}> {
  const given = [body.file_id, body.archive_url, body.git].filter((source) => source !== undefined);
  if (given.length !== 1)
    throw new ApiError(
      'invalid_request',
      'Say what to build: exactly one of "file_id", "archive_url" and "git" is required.',
    );
  if (body.file_id !== undefined) {
    const uploadId = parseUploadId(body.file_id);
    if (uploadId === undefined)
      throw new ApiError('invalid_request', '"file_id" is not one that POST /api/v1/filedrop/ gave.');
    const { sha256 } = await useUpload(uploadId);
    return { source: { kind: 'upload', uploadId }, displayName: sha256.slice(0, 7) };
  }
  if (body.archive_url !== undefined) {
    if (!/^https?:\/\//i.test(body.archive_url))
      throw new ApiError('invalid_request', '"archive_url" must be an http or https URL.');
    const url = egress.checkUrl(body.archive_url);
    const file = decodeSafely(url.pathname.split('/').at(-1) ?? '');
    const { shown, secrets } = sealableUrl(url.href);
    return {
      source: { kind: 'archive', url: shown },
      secrets,
      displayName: file === '' ? url.host : cutText(file, 100),
    };
  }
  return parseGit(body.git ?? { url: '' }, egress);
}

function parseGit(
  git: NonNullable<BuildRequestBody['git']>,
  egress: EgressGuard,
): { source: BuildSource; displayName: string } {
  const { sha, ref, username, lfs } = git;
  const url = gitUrlOf(git, egress);
  if (sha !== undefined && !/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(sha))
    throw new ApiError(
      'invalid_request',
      '"git.sha" must be a full commit id: 40 or 64 lower-case hex digits.',
    );
  // git's own rules for refs, and nothing that a program could take for an option.
  if (
    ref !== undefined &&
    (!/^[^-\s/~^:?*[\\\p{Cc}][^\s~^:?*[\\\p{Cc}]*$/u.test(ref) || /\.\.|@\{|\/\/|\.lock$|[/.]$/.test(ref))
  )
    throw new ApiError('invalid_request', '"git.ref" is not the name of a branch, a tag or a ref.');
  return {
    source: {
      kind: 'git',
      url,
      ...(sha === undefined ? {} : { sha }),
      ...(ref === undefined ? {} : { ref }),
      ...(username === undefined ? {} : { username }),
      ...(lfs === true ? { lfs } : {}),
    },
    displayName:
      sha?.slice(0, 7) ??
      (ref === undefined ? undefined : cutText(ref.replace(/^refs\/(?:heads|tags)\//, ''), 100)) ??
      'HEAD',
  };
}

/** The URL in the form that is stored. */
function gitUrlOf(git: NonNullable<BuildRequestBody['git']>, egress: EgressGuard): string {
  const { href, parsed } = checkGitUrl('git.url', git.url, egress);
  if (parsed.scheme === 'ssh') {
    if (git.private_key === undefined)
      throw new ApiError(
        'invalid_request',
        '"git.url" is for ssh, which needs a "git.private_key". Give one, or an http or https URL.',
      );
    if (git.token !== undefined || git.username !== undefined)
      throw new ApiError('invalid_request', '"git.token" is for https; ssh takes "git.private_key" alone.');
    return parsed.url;
  }
  if (git.private_key !== undefined)
    throw new ApiError('invalid_request', '"git.private_key" is for ssh; an https URL takes "git.token".');
  return href;
}

function parseGitCredentials(git: BuildRequestBody['git']): GitCredentials {
  const { private_key: privateKey, token, username } = git ?? {};
  const fault = (field: string, why: string | undefined): void => {
    if (why !== undefined) throw new ApiError('invalid_request', `"git.${field}" ${why}.`);
  };
  if (privateKey !== undefined) fault('private_key', faultOfPrivateKey(privateKey));
  if (token !== undefined) fault('token', faultOfToken(token));
  if (username !== undefined) {
    fault('username', faultOfToken(username) ?? (username.includes(':') ? 'has a colon in it' : undefined));
    if (token === undefined) throw new ApiError('invalid_request', '"git.username" goes with "git.token".');
  }
  return {
    ...(privateKey === undefined ? {} : { privateKey }),
    ...(token === undefined ? {} : { token }),
  };
}

function requirePlatform(platform: string): void {
  if (!/^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9.]+)?$/.test(platform))
    throw new ApiError(
      'invalid_request',
      `"${platform}" in "platforms" is not a platform. Write it like linux/amd64 or linux/arm/v7.`,
    );
}

function requireNames(
  field: string,
  pairs: Readonly<Record<string, string>> | undefined,
  pattern: RegExp,
): void {
  for (const [name, value] of Object.entries(pairs ?? {})) {
    if (!pattern.test(name))
      throw new ApiError(
        'invalid_request',
        `"${name.slice(0, 100)}" in "${field}" is not a name that can be used there.`,
      );
    if (value.includes('\0'))
      throw new ApiError('invalid_request', `"${name}" in "${field}" has a NUL in it.`);
  }
}

const largestSecret = 512 * 1024;

function parseSecrets(secrets: Readonly<Record<string, string>> | undefined): BuildSecret[] {
  return Object.entries(secrets ?? {}).map(([id, text]) => {
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/.test(id))
      throw new ApiError('invalid_request', 'An id in "secrets" may have letters, digits and _ . - only.');
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text))
      throw new ApiError('invalid_request', `The value of the secret "${id}" is not base64.`);
    const value = Buffer.from(text, 'base64');
    if (value.length > largestSecret)
      throw new ApiError('invalid_request', `The secret "${id}" is larger than ${largestSecret} bytes.`);
    return { id, value };
  });
}

function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text).replace(/\p{Cc}/gu, '');
  } catch {
    return text;
  }
}

const byName = ([a]: [string, string], [b]: [string, string]): number => (a < b ? -1 : a > b ? 1 : 0);

/** The key under which only the newest build need be made: what makes two requests ask for the same thing. */
export function newestKeyOf(request: BuildRequest): string {
  const { source, tags, context, dockerfilePath, target, platforms, buildArgs, labels, push } = request;
  const thing =
    source.kind === 'git' && source.ref !== undefined
      ? ['git', source.url, source.ref]
      : ['tags', ...[...tags].sort()];
  const rest = [
    // One that publishes nothing comes in nobody's place.
    push,
    context,
    dockerfilePath,
    target ?? null,
    [...platforms].sort(),
    // Builds of a matrix differ in these alone.
    ...[buildArgs, labels].map((pairs) => Object.entries(pairs).sort(byName)),
  ];
  return createHash('sha256')
    .update(JSON.stringify([thing, rest]))
    .digest('hex');
}

/** Keys of different people never meet, whatever they send. */
export function idempotencyKeyOf(header: unknown, username: string): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header !== 'string' || header.length === 0 || header.length > 255)
    throw new ApiError('invalid_request', 'The Idempotency-Key header must have 1 to 255 characters.');
  return createHash('sha256').update(`${username}\n${header}`).digest('hex');
}
