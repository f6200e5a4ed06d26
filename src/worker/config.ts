import { isAbsolute } from 'node:path';

export interface WorkerConfig {
  /** host:port */
  readonly server: string;
  /** The registration token. A secret. */
  readonly token: string;
  /** Only for the worker's own messages: the token decides what is built. */
  readonly buildId?: string;
  readonly tls?: { readonly caFile?: string; readonly ca?: string };
  readonly engine: WantedEngine;
  readonly isolation: 'auto' | 'namespaces' | 'chroot';
  readonly registryHost?: string;
  /** An empty folder of this attempt's own; a new one below the system's when absent. */
  readonly workspace?: string;
  /** What outlives the attempt: engine storage and cache. */
  readonly stateFolder: string;
  readonly debug: boolean;
  readonly path: string;
  /** For git, downloads and the engine: proxies and where certificates are. */
  readonly network: Readonly<Record<string, string>>;
}

export type WantedEngine = 'auto' | 'buildah' | 'buildkit' | 'docker' | 'podman' | 'dummy';

/** What is wrong with the environment, each with its variable's name; values are not repeated. */
export class WorkerConfigError extends Error {
  constructor(problems: readonly string[]) {
    super(`The worker cannot start with this environment. ${problems.join(' ')}`);
    this.name = 'WorkerConfigError';
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

const engines: readonly WantedEngine[] = ['auto', 'buildah', 'buildkit', 'docker', 'podman', 'dummy'];
const networkNames = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'GIT_SSL_CAINFO',
];

/**
 * Reads the worker's environment. Names that other workers of this protocol have keep their meaning:
 *
 *     SERVER              host:port of the build manager
 *     TOKEN               registration token; the local executor gives it on standard input instead
 *     BUILD_UUID          the build, for messages
 *     INSECURE            true: clear text; else TLS
 *     TLS_CERT_PATH       file with the authorities to trust, instead of the machine's
 *     CA_CERT             the same as PEM text, besides that file
 *     BUILDAH_ISOLATION   chroot | rootless | oci; BULDAH_ISOLATION is read too
 *     REGISTRY_HOSTNAME   the registry's host, for messages
 *     HTTP_PROXY … NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, GIT_SSL_CAINFO
 *     DEBUG               true: the workspace is left
 *     BUILD_ENGINE        auto | buildah | buildkit | docker | podman | dummy
 *     SLIPWAY_WORKSPACE   empty folder for this attempt
 *     SLIPWAY_STATE_DIR   folder for what outlives the attempt
 *
 * CONTAINER_RUNTIME, DOCKER_HOST and EXECUTOR, which other workers need, change nothing here.
 */
export function readWorkerConfig(
  env: Environment,
  fallback: { readonly home: string; readonly path: string },
): WorkerConfig {
  const problems: string[] = [];
  const text = (name: string): string | undefined => {
    const value = env[name]?.trim();
    return value === '' ? undefined : value;
  };
  const need = (name: string, meaning: string): string => {
    const value = text(name);
    if (value === undefined) problems.push(`${name} is missing: ${meaning}.`);
    return value ?? '';
  };
  const folder = (name: string): string | undefined => {
    const value = text(name);
    if (value !== undefined && !isAbsolute(value)) problems.push(`${name} must be an absolute path.`);
    return value;
  };

  const server = need('SERVER', 'the build manager’s host:port');
  if (server !== '' && !/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/.test(server)) {
    problems.push('SERVER must be host:port.');
  }
  const token = need('TOKEN', 'the registration token');
  const caFile = text('TLS_CERT_PATH');
  const ca = text('CA_CERT');
  const insecure = readSwitch('INSECURE', text, problems);
  const debug = readSwitch('DEBUG', text, problems);
  const config: WorkerConfig = {
    server,
    token,
    engine: readEngine(text, problems),
    isolation: readIsolation(text, problems),
    stateFolder: folder('SLIPWAY_STATE_DIR') ?? `${fallback.home}/.local/share/slipway-worker`,
    debug,
    path: text('PATH') ?? fallback.path,
    network: Object.fromEntries(
      networkNames.flatMap((name) => {
        const value = text(name);
        return value === undefined ? [] : [[name, value]];
      }),
    ),
    ...optional('buildId', text('BUILD_UUID')),
    ...optional('registryHost', text('REGISTRY_HOSTNAME')),
    ...optional('workspace', folder('SLIPWAY_WORKSPACE')),
    ...(insecure ? {} : { tls: { ...optional('caFile', caFile), ...optional('ca', ca) } }),
  };
  if (problems.length > 0) throw new WorkerConfigError(problems);
  return config;
}

type Read = (name: string) => string | undefined;

function readEngine(text: Read, problems: string[]): WantedEngine {
  const name = text('BUILD_ENGINE')?.toLowerCase() ?? 'auto';
  const engine = engines.find((known) => known === name);
  if (engine === undefined) problems.push(`BUILD_ENGINE must be one of ${engines.join(', ')}.`);
  return engine ?? 'auto';
}

function readIsolation(text: Read, problems: string[]): WorkerConfig['isolation'] {
  const value = text('BUILDAH_ISOLATION') ?? text('BULDAH_ISOLATION');
  switch (value) {
    case undefined:
      return 'auto';
    case 'chroot':
      return 'chroot';
    case 'rootless':
    case 'oci':
      return 'namespaces';
    default:
      problems.push('BUILDAH_ISOLATION must be chroot, rootless or oci.');
      return 'auto';
  }
}

function readSwitch(name: string, text: Read, problems: string[]): boolean {
  const value = (text(name) ?? 'false').toLowerCase();
  if (['true', '1', 'yes', 'on'].includes(value)) return true;
  if (!['false', '0', 'no', 'off'].includes(value)) problems.push(`${name} must be true or false.`);
  return false;
}

function optional<Key extends string, Value>(
  key: Key,
  value: Value | undefined,
): { readonly [K in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [K in Key]?: Value });
}
