import Type, { type TSchema } from 'typebox';
import { childPath } from './config-node.ts';
import { leafOf } from './leaf.ts';

/** Where keys belong, for those who put one into the wrong place. */
export function placesOf(schema: TSchema): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  const visit = (at: TSchema, path: string): void => {
    if (Type.IsObject(at))
      for (const [key, property] of Object.entries(at.properties)) {
        const known = places.get(key) ?? [];
        if (!known.includes(path)) places.set(key, [...known, path]);
        visit(property, childPath(path, key));
      }
    else if (Type.IsUnion(at))
      for (const member of at.anyOf) {
        const { variant = '', chosenBy = '' } = { ...(at as UnionWords), ...(member as UnionWords) };
        visit(member, chosenBy === 'EXECUTOR' ? `an executor of type ${variant}` : path);
      }
    else if (Type.IsTuple(at))
      for (const [index, part] of partsOf(at).entries()) visit(part, childPath(path, index));
    else if (Type.IsRecord(at))
      for (const part of partsOf(at))
        visit(part, (at as { spread?: boolean }).spread === true ? path : childPath(path, 'NAME'));
    else for (const part of partsOf(at)) visit(part, childPath(path, 0));
  };
  visit(schema, '');
  return places;
}

interface UnionWords {
  readonly variant?: string;
  readonly chosenBy?: string;
}

export interface SchemaKeys {
  /** Every key at every depth. */
  readonly known: ReadonlySet<string>;
  /** Those whose value may be put into a file of its own: secrets, and lists of them. */
  readonly secret: ReadonlySet<string>;
}

export function keysOf(schema: TSchema): SchemaKeys {
  const known = new Set<string>();
  const secret = new Set<string>();
  const visit = (at: TSchema): void => {
    if (Type.IsObject(at))
      for (const [key, property] of Object.entries(at.properties)) {
        known.add(key);
        const leaf = leafOf(Type.IsArray(property) ? property.items : property);
        if (leaf?.secret !== undefined) secret.add(key);
        visit(property);
      }
    for (const part of partsOf(at)) visit(part);
  };
  visit(schema);
  return { known, secret };
}

function partsOf(schema: TSchema): readonly TSchema[] {
  if (Type.IsUnion(schema)) return schema.anyOf;
  if (Type.IsTuple(schema)) return schema.items as unknown as TSchema[];
  if (Type.IsArray(schema)) return [schema.items];
  if (Type.IsRecord(schema)) return Object.values(schema.patternProperties);
  return [];
}
