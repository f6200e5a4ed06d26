import { isIP } from 'node:net';
import { parseDatabaseUri } from './database-uri.ts';
import { executorRules } from './executor-rules.ts';
import { loginRules } from './login-rules.ts';
import type { LooseConfig, RuleReport } from './rule-report.ts';
import { storageRules } from './storage-rules.ts';
import { triggerRules } from './trigger-rules.ts';

export interface FileSurroundings {
  /** Whether `ssl.cert` and `ssl.key` are beside the configuration file. */
  readonly certificateBesideFile: boolean;
}

/** What no single key can be blamed for. */
export function checkRules(config: LooseConfig, report: RuleReport, around: FileSurroundings): void {
  addressRules(config, report, around);
  databaseRules(config, report);
  redisRules(config, report);
  storageRules(config, report);
  executorRules(config, report);
  limitRules(config, report);
  loginRules(config, report);
  triggerRules(config, report);
}

export function portOf(host: string): number | undefined {
  const port = /:(\d+)$/.exec(host)?.[1];
  return port === undefined ? undefined : Number(port);
}

export function withoutPort(host: string): string {
  return host.replace(/:\d+$/, '');
}

/** Whether executors start workers on other machines. */
export function hasRemoteWorkers(config: LooseConfig): boolean {
  if (config.FEATURE_BUILD_SUPPORT === false || config.BUILD_MANAGER?.[0] !== 'ephemeral') return false;
  const executors = config.BUILD_MANAGER[1]?.EXECUTORS ?? [];
  return executors.some(
    (executor) => executor !== undefined && !['local', 'popen'].includes(executor.EXECUTOR ?? 'local'),
  );
}

function addressRules(
  config: LooseConfig,
  report: RuleReport,
  { certificateBesideFile }: FileSurroundings,
): void {
  const { SERVER_HOSTNAME: server, BUILDMAN_HOSTNAME: manager, SLIPWAY: own } = config;
  for (const [key, host] of Object.entries({ SERVER_HOSTNAME: server, BUILDMAN_HOSTNAME: manager })) {
    const port = host === undefined ? undefined : portOf(host);
    if (host !== undefined && port !== undefined && (port < 1 || port > 65_535))
      report.notAllowed([key], host, 'an address with a port from 1 to 65535');
  }
  if (manager !== undefined && manager !== server && portOf(manager) === undefined)
    report.fault(
      'contradiction',
      ['BUILDMAN_HOSTNAME'],
      `is ${JSON.stringify(manager)}, without a port, and not SERVER_HOSTNAME; it must be HOST:PORT, such as ${withoutPort(manager)}:55443.`,
      { value: JSON.stringify(manager), allowed: 'HOST:PORT' },
    );
  const tls = own?.TLS;
  report.together(['SLIPWAY', 'TLS'], tls, 'CERTIFICATE', 'KEY');
  const certificate = certificateBesideFile || tls?.CERTIFICATE !== undefined;
  const https = config.PREFERRED_URL_SCHEME === 'https';
  const external = config.EXTERNAL_TLS_TERMINATION === true;
  if (https && !external && !certificate)
    report.fault(
      'contradiction',
      ['PREFERRED_URL_SCHEME'],
      'is "https", but there is no certificate; set SLIPWAY.TLS, put ssl.cert and ssl.key beside this file, or set EXTERNAL_TLS_TERMINATION when something in front speaks TLS.',
    );
  if (external && config.PREFERRED_URL_SCHEME === 'http')
    report.fault(
      'contradiction',
      ['EXTERNAL_TLS_TERMINATION'],
      'is true, but PREFERRED_URL_SCHEME is "http"; set PREFERRED_URL_SCHEME to https.',
    );
  const ownAddress = manager === undefined || manager === server;
  if (ownAddress && hasRemoteWorkers(config) && own?.LISTEN?.ONE_PORT === false && !external && !certificate)
    report.fault(
      'missing-key',
      ['BUILDMAN_HOSTNAME'],
      `is ${manager === undefined ? 'missing' : 'SERVER_HOSTNAME'}; workers on other machines would be sent to port ${own.LISTEN.GRPC_TLS_PORT ?? 55_443}, which needs a certificate. Set BUILDMAN_HOSTNAME to HOST:${own.LISTEN.GRPC_PORT ?? 50_051}, or SLIPWAY.TLS, or SLIPWAY.LISTEN.ONE_PORT.`,
    );
  portRules(config, report);
  own?.TRUSTED_PROXIES?.forEach((block, index) => {
    if (block !== undefined && !isBlock(block))
      report.notAllowed(
        ['SLIPWAY', 'TRUSTED_PROXIES', index],
        block,
        'an address or a CIDR block such as 10.0.0.0/8',
      );
  });
  own?.ALLOW_PRIVATE?.forEach((block, index) => {
    if (block?.includes('/') === true && !isBlock(block))
      report.notAllowed(
        ['SLIPWAY', 'ALLOW_PRIVATE', index],
        block,
        'a host or a CIDR block such as 10.0.0.0/8',
      );
  });
}

function portRules({ SLIPWAY: own }: LooseConfig, report: RuleReport): void {
  const listen = own?.LISTEN;
  if (listen === undefined || listen.ONE_PORT === true) return;
  const seen = new Map<number, string>();
  for (const key of ['PORT', 'GRPC_PORT', 'GRPC_TLS_PORT'] as const) {
    const port = listen[key];
    if (port === undefined || port === 0) continue;
    const other = seen.get(port);
    if (other !== undefined)
      report.fault(
        'contradiction',
        ['SLIPWAY', 'LISTEN', key],
        `is ${port}, as ${other} is; choose different ports, or set ONE_PORT.`,
      );
    seen.set(port, key);
  }
}

function isBlock(text: string): boolean {
  const [address = '', bits, more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more !== undefined) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

function databaseRules(config: LooseConfig, report: RuleReport): void {
  const { DB_URI: uri, DB_CONNECTION_ARGS: args, SLIPWAY: own } = config;
  if (uri === undefined) return;
  const parsed = parseDatabaseUri(uri);
  if ('reason' in parsed) {
    report.fault(
      'not-allowed',
      ['DB_URI'],
      `${parsed.reason}; it must be postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE.`,
      { allowed: 'postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE' },
    );
    return;
  }
  report.together(['DB_CONNECTION_ARGS'], args, 'sslcert', 'sslkey');
  if (parsed.provider === 'postgres' && config.DATABASE_SECRET_KEY === undefined)
    report.fault(
      'missing-key',
      ['DATABASE_SECRET_KEY'],
      'is missing; with PostgreSQL it must be a text of at least 16 characters, the same for all managers.',
    );
  for (const [index, former] of (own?.FORMER_DATABASE_SECRET_KEYS ?? []).entries())
    if (former !== undefined && former === config.DATABASE_SECRET_KEY)
      report.fault(
        'contradiction',
        ['SLIPWAY', 'FORMER_DATABASE_SECRET_KEYS', index],
        'is the same as DATABASE_SECRET_KEY; remove it, or change DATABASE_SECRET_KEY.',
      );
  if (args?.sslmode === 'verify-ca' && args.sslrootcert === undefined && args.ssl?.ca === undefined)
    report.fault(
      'missing-key',
      ['DB_CONNECTION_ARGS', 'sslrootcert'],
      'is missing; the sslmode verify-ca needs the authority that is trusted.',
    );
}

function redisRules(config: LooseConfig, report: RuleReport): void {
  for (const key of ['BUILDLOGS_REDIS', 'USER_EVENTS_REDIS'] as const) {
    const redis = config[key];
    report.together([key], redis, 'ssl_certfile', 'ssl_keyfile');
    if (redis?.ssl === false)
      for (const file of ['ssl_ca_certs', 'ssl_certfile'] as const)
        if (redis[file] !== undefined)
          report.fault('contradiction', [key, file], 'is set, but ssl is not; set ssl to true.');
  }
  if (config.BUILD_MANAGER?.[0] !== 'ephemeral') return;
  const orchestrator = config.BUILD_MANAGER[1]?.ORCHESTRATOR;
  if (orchestrator === undefined || !('REDIS_SSL' in orchestrator)) return;
  const at = ['BUILD_MANAGER', 1, 'ORCHESTRATOR'];
  const pair = orchestrator.REDIS_CERT_AND_KEY;
  if (pair !== undefined && pair.length !== 2)
    report.fault(
      'not-allowed',
      [...at, 'REDIS_CERT_AND_KEY'],
      `is a list of ${pair.length}; it must be a list of two: certificate and key.`,
    );
  if (orchestrator.REDIS_SSL === false)
    for (const file of ['REDIS_CA_CERT', 'REDIS_CERT_AND_KEY'] as const)
      if (orchestrator[file] !== undefined)
        report.fault('contradiction', [...at, file], 'is set, but REDIS_SSL is not; set REDIS_SSL to true.');
}

function limitRules({ SLIPWAY: own }: LooseConfig, report: RuleReport): void {
  const { LOG: log, RETENTION: retention, HEARTBEAT_TIMEOUT: heartbeat, LEASE: lease } = own ?? {};
  if (log?.TAIL !== undefined && log.LIMIT !== undefined && log.TAIL > log.LIMIT / 2)
    report.fault(
      'contradiction',
      ['SLIPWAY', 'LOG', 'TAIL'],
      `is ${log.TAIL} bytes; it must be at most half of LIMIT, which is ${log.LIMIT} bytes.`,
    );
  if (heartbeat !== undefined && lease !== undefined && heartbeat > lease)
    report.fault(
      'contradiction',
      ['SLIPWAY', 'HEARTBEAT_TIMEOUT'],
      `is ${heartbeat / 1000} s; it must be at most LEASE, which is ${lease / 1000} s.`,
    );
  const { BUILDS: builds, LOGS: logs } = retention ?? {};
  if (typeof builds === 'number' && typeof logs === 'number' && logs > builds)
    report.fault(
      'contradiction',
      ['SLIPWAY', 'RETENTION', 'LOGS'],
      'is longer than BUILDS; the log of a build goes with it.',
    );
}
