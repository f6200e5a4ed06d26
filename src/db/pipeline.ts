import type { CompiledQuery, Kysely, RawBuilder } from 'kysely';
import type { Schema } from './schema.ts';

/**
 * Ways to send statements without a round trip for each, for PostgreSQL. A transaction holds its locks while a busy process
 * comes to its next statement, so each wait less is time that others need not wait. Kysely knows nothing of it: it hands
 * over one statement, and the connection (postgres-dialect.ts) finds here what is meant by it.
 */
const bundles = new WeakMap<CompiledQuery, readonly CompiledQuery[]>();
const unanswered = new WeakSet<CompiledQuery>();

/** Sends the statements one behind the other and waits once; the rows of each. The first error is thrown. */
export async function sendTogether<Rows extends readonly unknown[]>(
  sql: Kysely<Schema>,
  statements: { readonly [index in keyof Rows]: RawBuilder<Rows[index]> },
): Promise<{ readonly [index in keyof Rows]: readonly Rows[index][] }> {
  const compiled = (statements as readonly RawBuilder<unknown>[]).map((each) => each.compile(sql));
  const [first] = compiled;
  if (first === undefined) throw new TypeError('there is nothing to send');
  const bundle: CompiledQuery = { ...first };
  bundles.set(bundle, compiled);
  const { rows } = await sql.getExecutor().executeQuery(bundle);
  return rows as unknown as { readonly [index in keyof Rows]: readonly Rows[index][] };
}

/**
 * Sends a statement of a transaction whose answer nobody needs, and goes on at once. When it fails, so does what comes
 * after it in the transaction, its commit at the latest, with its error. Not the first of a transaction, if it writes: the
 * begin before it is not waited for either.
 */
export async function sendAhead(sql: Kysely<Schema>, statement: RawBuilder<unknown>): Promise<void> {
  const query: CompiledQuery = { ...statement.compile(sql) };
  unanswered.add(query);
  await sql.getExecutor().executeQuery(query);
}

export function bundleOf(query: CompiledQuery): readonly CompiledQuery[] | undefined {
  return bundles.get(query);
}

export function needsNoAnswer(query: CompiledQuery): boolean {
  return unanswered.has(query);
}
