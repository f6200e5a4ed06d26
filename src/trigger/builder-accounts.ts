import type { Trigger } from './trigger.ts';

/** What triggers have to know of the accounts that build by them. */
export interface BuilderAccounts {
  /** Of these names those of users who are switched off. */
  disabledAmong(names: readonly string[]): Promise<readonly string[]>;
}

/**
 * Why nothing is built by a trigger, whose accounts nobody shows any credentials of: whoever is switched off builds nothing,
 * neither by what they connected nor in the namespace that is theirs. Undefined: it may build.
 */
export async function accountRefusal(
  { repository: { namespace }, connectedUser }: Trigger,
  accounts: BuilderAccounts,
): Promise<string | undefined> {
  if (connectedUser === undefined)
    return 'The user who connected the build trigger was deleted. Switch it off and on again, or make a new one.';
  const [first] = await accounts.disabledAmong([namespace, connectedUser]);
  if (first === undefined) return undefined;
  const who = first === namespace ? 'whose namespace it is' : 'who connected the build trigger';
  return `The user ${first}, ${who}, is switched off, so nothing is built. Ask an administrator.`;
}
