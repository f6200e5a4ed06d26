import type { Clock } from '../base/clock.ts';
import type { Database } from '../db/database.ts';
import type { SecretBox } from '../db/secret-box.ts';
import type { BaseImageCredentials } from '../manager/base-image-credentials.ts';
import type { Targets } from '../manager/targets.ts';
import type { Credentials } from '../registries/external-registry.ts';
import { RegistryProbe } from '../registries/registry-probe.ts';
import { SqlRegistries } from '../registries/sql-registries.ts';
import { TargetPublisher } from '../registries/target-publisher.ts';
import type { OciClient } from '../registry/oci-client.ts';
import { egressOf } from './egress-of.ts';

export interface RegistriesOptions {
  readonly database: Database;
  readonly secretBox: SecretBox;
  /** Private hosts and CIDR blocks that registries of users may be at. */
  readonly allowPrivate: readonly string[];
  /** The embedded registry, where finished images are. */
  readonly source: OciClient;
  readonly clock: Clock;
}

export interface RegistriesParts {
  readonly registries: SqlRegistries;
  readonly probe: RegistryProbe;
  readonly targets: Targets;
  readonly baseImages: BaseImageCredentials;
}

/** The registries of namespaces outside of Slipway: who has them, what is published there, what is pulled from there. */
export function composeRegistries(options: RegistriesOptions): RegistriesParts {
  const { database, secretBox, source, clock } = options;
  const egress = egressOf(options.allowPrivate);
  const registries = new SqlRegistries({ database, secretBox, clock });
  return {
    registries,
    probe: new RegistryProbe({ egress, clock }),
    targets: new TargetPublisher({ registries, source, egress, clock }),
    baseImages: {
      ofNamespace: async (namespace) => (await registries.pullCredentials(namespace)).map(forWorker),
    },
  };
}

function forWorker({ registry, password }: Credentials) {
  const { host, prefix, username, insecure, ca } = registry;
  return {
    registry: prefix === '' ? host : `${host}/${prefix}`,
    username,
    password,
    insecure,
    ...(ca === undefined ? {} : { ca }),
  };
}
