import { isNothing, type MapNode } from './config-node.ts';
import { oidcLogins } from './login-schema.ts';

/** Logins that are no OpenID providers to Quay, whatever is in them. */
const others = new Set(['GITHUB_LOGIN_CONFIG', 'GOOGLE_LOGIN_CONFIG']);

/** Whether a key of the top level is of a login by OpenID, whose name is the administrator's choice. */
export function isOidcLoginKey(key: string): boolean {
  return /^[A-Z0-9][A-Z0-9_]*_LOGIN_CONFIG$/.test(key) && !others.has(key);
}

/** The part of a callback's path that says which login it is; as Quay makes it. */
export function loginIdOf(key: string): string {
  return key.slice(0, key.indexOf('_')).toLowerCase();
}

/** Logins by OpenID as one mapping by their keys. They keep the paths under which they were written. */
export function gatherLogins(root: MapNode): MapNode {
  const entries = new Map(root.entries);
  const logins: MapNode['entries'] = new Map(
    [...root.entries].filter(([key, node]) => {
      // Whoever copies the name from the manual is told so by a rule.
      if (!(isOidcLoginKey(key) || key === oidcLogins) || isNothing(node)) return false;
      return key !== 'GITLAB_LOGIN_CONFIG' || (node.kind === 'map' && node.entries.has('OIDC_SERVER'));
    }),
  );
  for (const key of logins.keys()) entries.delete(key);
  const { origin } = root;
  entries.set(oidcLogins, { kind: 'map', path: oidcLogins, origin, entries: logins });
  return { ...root, entries };
}
