import type { Accounts, Principal } from '../account/accounts.ts';
import type { NamespaceRole } from '../account/organizations.ts';

/**
 * What who asks is in a namespace, as far as the credentials go: a token needs the scope `org:admin`, for one's own
 * namespace `user:admin` does too. Robots are nothing in a namespace, whatever team they are in.
 */
export async function namespaceRoleOf(
  principal: Principal,
  namespace: string,
  { organizations }: Pick<Accounts, 'organizations'>,
): Promise<NamespaceRole | undefined> {
  if (principal.kind !== 'user') return undefined;
  const { username, superuser, scopes } = principal;
  if (superuser) return 'admin';
  const own = username === namespace;
  const allowed = scopes === 'all' || scopes.includes('org:admin') || (own && scopes.includes('user:admin'));
  if (!allowed) return undefined;
  return own ? 'admin' : await organizations.roleIn(username, namespace);
}
