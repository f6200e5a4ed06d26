/**
 * A repository is `namespace/name`. A namespace: 2 to 255 of `[a-z0-9]`, joined by single `.`, `_`, `__` or
 * runs of `-`. A name: the same grammar, 1 to 255 characters, and it may have further `/` parts. This is what a
 * registry's path grammar allows, so that every repository can be pushed to.
 */
export interface RepositoryName {
  readonly namespace: string;
  readonly name: string;
}

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const namespacePattern = new RegExp(`^${component}$`);
const namePattern = new RegExp(`^${component}(?:/${component})*$`);

export function isNamespace(text: string): boolean {
  return text.length >= 2 && text.length <= 255 && namespacePattern.test(text);
}

export function parseRepositoryName(text: string): RepositoryName | undefined {
  const slash = text.indexOf('/');
  if (slash < 0 || text.length > 512) return undefined;
  const namespace = text.slice(0, slash);
  const name = text.slice(slash + 1);
  if (!isNamespace(namespace) || name.length > 255 || !namePattern.test(name)) return undefined;
  return { namespace, name };
}

export function formatRepositoryName({ namespace, name }: RepositoryName): string {
  return `${namespace}/${name}`;
}
