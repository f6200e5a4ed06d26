import Type, { type TSchema } from 'typebox';
import { leafOf } from './leaf.ts';

export interface SchemaKeys {
  /** Every key at every depth. */
  readonly known: ReadonlySet<string>;
  /** Those whose value may be put into a file of its own. */
  readonly secret: ReadonlySet<string>;
}

export function keysOf(schema: TSchema): SchemaKeys {
  const known = new Set<string>();
  const secret = new Set<string>();
  const visit = (at: TSchema): void => {
    if (Type.IsObject(at))
      for (const [key, property] of Object.entries(at.properties)) {
        known.add(key);
        if (leafOf(property)?.secret !== undefined) secret.add(key);
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
