import type { Accounts, Principal } from '../account/accounts.ts';
import type { NamespaceRole } from '../account/organizations.ts';

/**
 * What who asks is in a namespace, one's own included, as far as the credentials go: a token needs the scope `org:admin`.
 * Robots are nothing in a namespace, whatever team they are in.
 */
export async function namespaceRoleOf(
  principal: Principal,
  namespace: string,
  { organizations }: Pick<Accounts, 'organizations'>,
): Promise<NamespaceRole | undefined> {
  if (principal.kind !== 'user') return undefined;
  const { username, superuser, scopes } = principal;
  if (superuser) return 'admin';
  if (scopes !== 'all' && !scopes.includes('org:admin')) return undefined;
  return username === namespace ? 'admin' : await organizations.roleIn(username, namespace);
}
