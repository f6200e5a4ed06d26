import Type from 'typebox';

/** The query of a list that is read page by page, in the order of names. */
export const listQuery = Type.Object({
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 100 }),
  next_page: Type.Optional(
    Type.String({ minLength: 1, maxLength: 520, description: 'From the answer before' }),
  ),
});

export const nextPage = Type.Optional(Type.String({ description: 'Absent on the last page' }));

/** What to ask a store for: one more than is shown, which says whether there is another page. */
export function storePage({ limit, next_page: after }: { limit: number; next_page?: string | undefined }): {
  readonly limit: number;
  readonly after?: string;
} {
  return { limit: limit + 1, ...(after === undefined ? {} : { after }) };
}

export function listPage<T>(
  found: readonly T[],
  limit: number,
  nameOf: (item: T) => string,
): { readonly items: readonly T[]; readonly next: { readonly next_page?: string } } {
  const items = found.slice(0, limit);
  const last = items.at(-1);
  return { items, next: found.length > limit && last !== undefined ? { next_page: nameOf(last) } : {} };
}
