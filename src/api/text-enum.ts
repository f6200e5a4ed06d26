import Type from 'typebox';

/** One of some texts; an `enum` in JSON Schema, which makes better messages than a union of constants. */
export function textEnum<const Values extends readonly string[]>(
  values: Values,
  options: { readonly description?: string } = {},
): Type.TUnsafe<Values[number]> {
  return Type.Unsafe<Values[number]>({ type: 'string', enum: [...values], ...options });
}
