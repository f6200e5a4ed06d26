import type { ExternalRegistry, NewRegistry, Registries, RegistryAddress } from './external-registry.ts';
import { RegistriesError } from './registries-error.ts';
import type { Problem, RegistryProbe } from './registry-probe.ts';
import { checkValues } from './registry-values.ts';

export interface Saving {
  readonly registries: Registries;
  readonly probe: RegistryProbe;
}

export type Saved =
  | { readonly kind: 'saved'; readonly registry: ExternalRegistry }
  | { readonly kind: 'problem'; readonly problem: Problem };

/** Keeps a new registry once it has accepted the credentials. */
export async function createRegistry(
  given: NewRegistry,
  { registries, probe }: Saving,
  signal: AbortSignal,
): Promise<Saved> {
  checkValues(given);
  if ((await registries.find(given)) !== undefined)
    throw new RegistriesError(
      'exists',
      `The namespace ${given.namespace} has a registry "${given.name}" already.`,
    );
  const problem = await probe.check(asGiven(given), signal);
  if (problem !== undefined) return { kind: 'problem', problem };
  return { kind: 'saved', registry: await registries.create(given) };
}

/**
 * Changes a registry once it has accepted the credentials. The password may be left out while it goes where it went:
 * else who may change the address, but does not know the password, could have it sent to a server of their own.
 */
export async function replaceRegistry(
  given: Omit<NewRegistry, 'password'> & { readonly password: string | undefined },
  { registries, probe }: Saving,
  signal: AbortSignal,
): Promise<Saved> {
  const stored = await registries.open(given);
  if (stored === undefined)
    throw new RegistriesError('unknown', `The namespace ${given.namespace} has no registry "${given.name}".`);
  if (given.password === undefined && !isSameAddress(given, stored.registry))
    throw new RegistriesError(
      'password-needed',
      'The host, the user name, the certificate authority or the use of TLS changes: give the password as well.',
    );
  const whole = { ...given, password: given.password ?? stored.password };
  checkValues(whole);
  const problem = await probe.check(asGiven(whole), signal);
  if (problem !== undefined) return { kind: 'problem', problem };
  return { kind: 'saved', registry: await registries.replace(whole) };
}

function isSameAddress(a: RegistryAddress, b: RegistryAddress): boolean {
  return a.host === b.host && a.insecure === b.insecure && a.username === b.username && a.ca === b.ca;
}

function asGiven({ password, ...registry }: NewRegistry) {
  return { registry: { ...registry, createdAt: 0, changedAt: 0 }, password };
}
