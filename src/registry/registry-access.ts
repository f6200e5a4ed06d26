import { isRepositoryPath } from '../model/image-reference.ts';

/** What a token may do with a repository. A registry asks for `pull` and `push` together when it is written to. */
export type RegistryAction = 'pull' | 'push' | 'delete';

/** One entry of a registry token's `access` claim. */
export interface RegistryAccess {
  readonly repository: string;
  readonly actions: readonly RegistryAction[];
}

const known: readonly RegistryAction[] = ['pull', 'push', 'delete'];

/** Keeps the actions we know; `*` means all of them. */
export function parseActions(texts: readonly string[]): RegistryAction[] {
  return texts.includes('*') ? [...known] : known.filter((action) => texts.includes(action));
}

/**
 * The scopes of a token request: each `repository:<path>:<action>[,<action>]`, several in one text parted by
 * spaces. Scopes of other types (`registry:catalog:*`) and malformed ones ask for nothing, as the protocol has
 * it: the token is then simply worth less. Scopes of one repository are joined.
 */
export function parseScopes(texts: readonly string[]): RegistryAccess[] {
  const byRepository = new Map<string, Set<RegistryAction>>();
  for (const scope of texts.flatMap((text) => text.split(' ')).slice(0, maximumScopes)) {
    const match = /^repository(?:\([a-z0-9]+\))?:(.+):([^:]*)$/.exec(scope);
    const repository = match?.[1];
    if (repository === undefined || !isRepositoryPath(repository)) continue;
    const actions = byRepository.get(repository) ?? new Set();
    for (const action of parseActions((match?.[2] ?? '').split(','))) actions.add(action);
    byRepository.set(repository, actions);
  }
  return [...byRepository].map(([repository, actions]) => ({ repository, actions: [...actions] }));
}

export function formatScope({ repository, actions }: RegistryAccess): string {
  return `repository:${repository}:${actions.join(',')}`;
}

export function allows(access: readonly RegistryAccess[], wanted: RegistryAccess): boolean {
  const granted = access.filter((entry) => entry.repository === wanted.repository);
  return wanted.actions.every((action) => granted.some((entry) => entry.actions.includes(action)));
}

export function pulling(repository: string): RegistryAccess[] {
  return [{ repository, actions: ['pull'] }];
}

export function pushing(repository: string): RegistryAccess[] {
  return [{ repository, actions: ['pull', 'push'] }];
}

export function deleting(repository: string): RegistryAccess[] {
  return [{ repository, actions: ['delete'] }];
}

const maximumScopes = 64;
