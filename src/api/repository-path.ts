import Type from 'typebox';

/** Parameters of every path with a repository in it. */
export const repositoryParams = Type.Object({
  namespace: Type.String(),
  repository: Type.String({ description: 'A name with parts of its own is written with %2F, or with /' }),
});

export const buildParams = Type.Object({
  namespace: Type.String(),
  repository: Type.String(),
  build: Type.String({ description: 'The id of a build' }),
});

/** What may stand behind a repository in a path. A repository whose name has such a part is written with %2F. */
const below = 'build|changevisibility|permissions|limits|target|trigger|notices|notification|status|tag';
const pattern = new RegExp(`^(/api/v1/repository/[^/?]+/)([^/?]+(?:/[^/?]+)+?)(/(?:${below})(?:/.*)?|/?)$`);

/**
 * Repository names may have slashes, which a path pattern cannot match in its middle: they are encoded before the
 * request is routed.
 */
export function encodeRepositoryPath(url: string): string {
  // `*` is for OPTIONS of the server as a whole; the router would take it for the root.
  if (url === '*') return '/*';
  const question = url.indexOf('?');
  const path = question < 0 ? url : url.slice(0, question);
  const match = pattern.exec(path);
  const [, head, name, tail] = match ?? [];
  if (head === undefined || name === undefined || tail === undefined) return url;
  // One part followed by the name of a resource is a plain repository with something below it.
  const parts = name.split('/');
  if (parts.slice(1).some((part) => new RegExp(`^(?:${below})$`).test(part))) return url;
  return `${head}${parts.join('%2F')}${tail}${question < 0 ? '' : url.slice(question)}`;
}
