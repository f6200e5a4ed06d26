import { NodeChecker } from './check-node.ts';
import type { Config } from './config.ts';
import { type ConfigFault, FaultList } from './config-fault.ts';
import type { ConfigNode, Origin } from './config-node.ts';
import { overlayEnvironment } from './environment.ts';
import { gatherLogins, isOidcLoginKey } from './gather-logins.ts';
import { isIgnoredKey } from './ignored-keys.ts';
import { writeOutManager } from './manager-form.ts';
import { type Place, resolveConfig } from './resolve.ts';
import { resolveLogins } from './resolve-logins.ts';
import { type LooseConfig, RuleReport } from './rule-report.ts';
import { checkRules } from './rules.ts';
import { type CheckedConfig, configSchema } from './schema.ts';
import { keysOf, placesOf } from './schema-keys.ts';
import { readYaml } from './yaml-file.ts';

export interface ConfigSource extends Place {
  /** Of the configuration file. */
  readonly bytes: Uint8Array;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Reads what a variable `…_FILE` names. Throws when it cannot. */
  readonly readFile: (path: string) => string;
}

export interface ConfigRemark {
  readonly path: string;
  readonly origin: Origin;
  readonly message: string;
}

export interface ParsedConfig {
  /** Undefined when there are faults. */
  readonly config: Config | undefined;
  readonly faults: readonly ConfigFault[];
  /** Keys that are known and have no effect. */
  readonly ignored: readonly { readonly path: string; readonly origin: Origin }[];
  /** What is allowed and probably not meant. */
  readonly warnings: readonly ConfigRemark[];
}

const keys = keysOf(configSchema);
const places = placesOf(configSchema);
const topLevel = Object.keys(configSchema.properties);

/** Environment over file over defaults. Finds everything that is wrong, not only the first. */
export function parseConfig(source: ConfigSource): ParsedConfig {
  const faults = new FaultList();
  const file = readYaml(source.bytes, faults);
  if (file === undefined) return { config: undefined, faults: faults.sorted(), ignored: [], warnings: [] };
  const ignored: ConfigNode[] = [];
  const overlaid = overlayEnvironment(file, {
    environment: source.environment,
    readFile: source.readFile,
    keys,
    topLevel,
    isIgnored: isIgnoredKey,
    isFurther: isOidcLoginKey,
    faults,
  });
  const tree = gatherLogins(writeOutManager(overlaid, faults));
  const checker = new NodeChecker({
    faults,
    onIgnored: (node) => ignored.push(node),
    isIgnored: isIgnoredKey,
    places,
  });
  const checked = checker.check(configSchema, tree);
  checkRules(checked as LooseConfig, new RuleReport(tree, faults), source);
  return {
    config: faults.empty ? resolveConfig(checked as CheckedConfig, source) : undefined,
    faults: faults.sorted(),
    ignored: ignored.map(({ path, origin }) => ({ path, origin })),
    warnings: faults.empty ? warningsOf(checked as CheckedConfig, tree.origin) : [],
  };
}

function warningsOf(config: CheckedConfig, origin: Origin): ConfigRemark[] {
  const warnings: ConfigRemark[] = [];
  const warn = (path: string, message: string) => warnings.push({ path, origin, message });
  const manager = config.BUILD_MANAGER?.[0] === 'ephemeral' ? config.BUILD_MANAGER[1] : undefined;
  const postgres = /^postgres/i.test(config.DB_URI);
  const orchestrator = manager?.ORCHESTRATOR;
  const memory = orchestrator === undefined || !('REDIS_HOST' in orchestrator);
  if (manager !== undefined && postgres && memory)
    warn(
      'BUILD_MANAGER[1].ORCHESTRATOR',
      'BUILD_MANAGER[1].ORCHESTRATOR is not Redis: this works for a single manager only.',
    );
  if (postgres && config.DISTRIBUTED_STORAGE_CONFIG === undefined)
    warn(
      'DISTRIBUTED_STORAGE_CONFIG',
      'DISTRIBUTED_STORAGE_CONFIG is not set: images, uploads and logs are kept in the data folder, which other managers do not see.',
    );
  if (!/[.:]|^localhost$/.test(config.SERVER_HOSTNAME))
    warn(
      'SERVER_HOSTNAME',
      `SERVER_HOSTNAME is "${config.SERVER_HOSTNAME}", without a dot or a port: clients such as docker take it for a name in another registry.`,
    );
  if (!config.FEATURE_SUPER_USERS && config.SUPER_USERS.length > 0)
    warn('SUPER_USERS', 'SUPER_USERS has no effect, because FEATURE_SUPER_USERS is false.');
  if (!config.FEATURE_DIRECT_LOGIN && resolveLogins(config).services.length === 0)
    warn(
      'FEATURE_DIRECT_LOGIN',
      'FEATURE_DIRECT_LOGIN is false, and no login service is configured: nobody can sign in with a browser.',
    );
  return warnings;
}
