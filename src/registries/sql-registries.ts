import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import type { Row } from '../db/schema.ts';
import { sealedColumns } from '../db/sealed-columns.ts';
import type { SecretBox } from '../db/secret-box.ts';
import { SqlError } from '../db/sql-error.ts';
import { formatRepositoryName, type RepositoryName } from '../model/repository-name.ts';
import {
  type Credentials,
  type ExternalRegistry,
  mostRegistries,
  type NewRegistry,
  type Registries,
  type RegistryKey,
  type Target,
} from './external-registry.ts';
import { RegistriesError } from './registries-error.ts';
import { checkValues } from './registry-values.ts';
import { placeOf } from './same-place.ts';

export interface SqlRegistriesOptions {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
}

/** How many repositories a refusal names. */
const mostNamed = 10;
/** How many paths are worth a look for a blob that is there already. */
const mostSiblings = 4;

/** Registries of namespaces in the database; their passwords sealed, each for its own row. */
export class SqlRegistries implements Registries {
  readonly #database: Database;
  readonly #secretBox: SecretBox;
  readonly #clock: Clock;

  constructor({ database, secretBox, clock }: SqlRegistriesOptions) {
    this.#database = database;
    this.#secretBox = secretBox;
    this.#clock = clock;
  }

  async list(namespace: string): Promise<readonly ExternalRegistry[]> {
    return (await this.#rows(namespace)).map(registryOf);
  }

  async find(key: RegistryKey): Promise<ExternalRegistry | undefined> {
    const row = await rowOf(this.#database.sql, key);
    return row === undefined ? undefined : registryOf(row);
  }

  async open(key: RegistryKey): Promise<Credentials | undefined> {
    const row = await rowOf(this.#database.sql, key);
    return row === undefined ? undefined : this.#unseal(row);
  }

  async create(given: NewRegistry): Promise<ExternalRegistry> {
    checkValues(given);
    const now = this.#clock.now();
    const { namespace, name } = given;
    const row = { namespace, name, ...this.#columns(given), created_at: now, changed_at: now };
    return await this.#database.transaction(async (sql) => {
      // So that the count is exact.
      if (!(await hold(sql, namespace)))
        throw new RegistriesError('unknown', `There is no namespace ${namespace}.`);
      const all = await sql
        .selectFrom('registries')
        .select('name')
        .where('namespace', '=', namespace)
        .execute();
      if (all.some((each) => each.name === name))
        throw new RegistriesError('exists', `The namespace ${namespace} has a registry "${name}" already.`);
      if (all.length >= mostRegistries)
        throw new RegistriesError(
          'too-many',
          `The namespace ${namespace} has ${all.length} registries, the most that it may have. Delete one first.`,
        );
      return registryOf(
        await sql.insertInto('registries').values(row).returningAll().executeTakeFirstOrThrow(),
      );
    });
  }

  async replace(given: NewRegistry): Promise<ExternalRegistry> {
    checkValues(given);
    const { namespace, name } = given;
    return await this.#database.transaction(async (sql) => {
      await hold(sql, namespace);
      const row = await sql
        .updateTable('registries')
        .set({ ...this.#columns(given), changed_at: this.#clock.now() })
        .where('namespace', '=', namespace)
        .where('name', '=', name)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) throw unknownRegistry(given);
      if (!given.push) await refuseWhileUsed(sql, given, 'be for pulls alone');
      const targets = await sql
        .selectFrom('repository_targets')
        .select(['repository', 'path'])
        .where('namespace', '=', namespace)
        .where('registry', '=', name)
        .execute();
      for (const { repository, path } of targets)
        await refuseTaken(sql, { namespace, name: repository }, registryOf(row), path);
      return registryOf(row);
    });
  }

  async delete(key: RegistryKey): Promise<boolean> {
    try {
      return await this.#database.transaction(async (sql) => {
        await refuseWhileUsed(sql, key, 'be deleted');
        const { numDeletedRows } = await sql
          .deleteFrom('registries')
          .where('namespace', '=', key.namespace)
          .where('name', '=', key.name)
          .executeTakeFirst();
        return numDeletedRows > 0n;
      });
    } catch (thrown) {
      // A repository came to use it at this moment.
      if (!(thrown instanceof SqlError) || thrown.code !== 'foreign-key') throw thrown;
      await refuseWhileUsed(this.#database.sql, key, 'be deleted');
      throw thrown;
    }
  }

  async pullCredentials(namespace: string): Promise<readonly Credentials[]> {
    const rows = await this.#rows(namespace);
    return rows.filter(({ pull }) => pull !== 0).map((row) => this.#unseal(row));
  }

  async target(repository: RepositoryName): Promise<Target | undefined> {
    return (await this.targets([repository])).get(formatRepositoryName(repository));
  }

  async targets(repositories: readonly RepositoryName[]): Promise<ReadonlyMap<string, Target>> {
    if (repositories.length === 0) return new Map();
    const rows = await this.#database.sql
      .selectFrom('repository_targets as t')
      .innerJoin('registries as r', (on) =>
        on.onRef('r.namespace', '=', 't.namespace').onRef('r.name', '=', 't.registry'),
      )
      .selectAll('r')
      .select(['t.repository', 't.path'])
      .where((on) =>
        on.or(
          repositories.map(({ namespace, name }) =>
            on.and([on('t.namespace', '=', namespace), on('t.repository', '=', name)]),
          ),
        ),
      )
      .execute();
    return new Map(
      rows.map((row) => [
        formatRepositoryName({ namespace: row.namespace, name: row.repository }),
        { registry: registryOf(row), path: row.path },
      ]),
    );
  }

  async setTarget(
    { namespace, name: repository }: RepositoryName,
    target: { readonly registry: string; readonly path: string } | undefined,
  ): Promise<void> {
    if (target === undefined) {
      await this.#database.sql
        .deleteFrom('repository_targets')
        .where('namespace', '=', namespace)
        .where('repository', '=', repository)
        .execute();
      return;
    }
    const key = { namespace, name: target.registry };
    try {
      await this.#database.transaction(async (sql) => {
        // Another registry that gets this host meanwhile would not see this target.
        await hold(sql, namespace);
        const registry = await rowOf(sql, key);
        if (registry === undefined) throw unknownRegistry(key);
        if (registry.push === 0)
          throw new RegistriesError(
            'bad-value',
            `The registry "${key.name}" is for pulls alone. Let it be for push as well first.`,
          );
        await refuseTaken(sql, { namespace, name: repository }, registryOf(registry), target.path);
        await sql
          .insertInto('repository_targets')
          .values({ namespace, repository, ...target })
          .onConflict((on) => on.columns(['namespace', 'repository']).doUpdateSet(target))
          .execute();
      });
    } catch (thrown) {
      if (!(thrown instanceof SqlError) || thrown.code !== 'foreign-key') throw thrown;
      throw new RegistriesError(
        'unknown',
        'The repository or the registry was deleted at this moment.',
        thrown,
      );
    }
  }

  async siblings({ namespace, name }: RegistryKey, path: string): Promise<readonly string[]> {
    const rows = await this.#database.sql
      .selectFrom('repository_targets')
      .select('path')
      .distinct()
      .where('namespace', '=', namespace)
      .where('registry', '=', name)
      .where('path', '!=', path)
      .orderBy('path')
      .limit(mostSiblings)
      .execute();
    return rows.map((row) => row.path);
  }

  async #rows(namespace: string): Promise<readonly Row<'registries'>[]> {
    return await this.#database.sql
      .selectFrom('registries')
      .selectAll()
      .where('namespace', '=', namespace)
      .orderBy('name')
      .limit(mostRegistries)
      .execute();
  }

  #columns(given: NewRegistry) {
    const { host, insecure, prefix, username, push, pull, ca } = given;
    return {
      host,
      insecure: insecure ? 1 : 0,
      prefix,
      username,
      password_sealed: this.#secretBox.seal(
        Buffer.from(given.password),
        sealedColumns.registryPasswords.purpose(given),
      ),
      ca: ca ?? null,
      push: push ? 1 : 0,
      pull: pull ? 1 : 0,
    };
  }

  #unseal(row: Row<'registries'>): Credentials {
    const password = this.#secretBox.open(row.password_sealed, sealedColumns.registryPasswords.purpose(row));
    return { registry: registryOf(row), password: Buffer.from(password).toString('utf8') };
  }
}

async function rowOf(sql: Sql, { namespace, name }: RegistryKey): Promise<Row<'registries'> | undefined> {
  return await sql
    .selectFrom('registries')
    .selectAll()
    .where('namespace', '=', namespace)
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Keeps others from changing the registries and targets of a namespace until the end of the transaction; false: there is none. */
async function hold(sql: Sql, namespace: string): Promise<boolean> {
  const { numUpdatedRows } = await sql
    .updateTable('namespaces')
    .set((on) => ({ name: on.ref('name') }))
    .where('name', '=', namespace)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Throws `in-use` when another repository publishes to the same place, also by another registry of the namespace. */
async function refuseTaken(
  sql: Sql,
  { namespace, name }: RepositoryName,
  registry: ExternalRegistry,
  path: string,
): Promise<void> {
  const others = await sql
    .selectFrom('repository_targets as t')
    .innerJoin('registries as r', (on) =>
      on.onRef('r.namespace', '=', 't.namespace').onRef('r.name', '=', 't.registry'),
    )
    .select(['r.host', 'r.insecure'])
    .where('t.namespace', '=', namespace)
    .where('t.repository', '!=', name)
    .where('t.path', '=', path)
    .execute();
  const place = placeOf(registry);
  if (others.some(({ host, insecure }) => placeOf({ host, insecure: insecure !== 0 }) === place))
    throw takenPath(registry.host, path);
}

/** Throws `in-use` while repositories publish there. */
async function refuseWhileUsed(sql: Sql, { namespace, name }: RegistryKey, what: string): Promise<void> {
  const rows = await sql
    .selectFrom('repository_targets')
    .select('repository')
    .where('namespace', '=', namespace)
    .where('registry', '=', name)
    .orderBy('repository')
    .limit(mostNamed + 1)
    .execute();
  if (rows.length === 0) return;
  const named = rows
    .slice(0, mostNamed)
    .map((row) => formatRepositoryName({ namespace, name: row.repository }));
  const more = rows.length > mostNamed ? ' and others' : '';
  const verb = rows.length === 1 ? 'publishes' : 'publish';
  throw new RegistriesError(
    'in-use',
    `The registry "${name}" cannot ${what}: ${named.join(', ')}${more} ${verb} to it. Set another target first (slipway repo target).`,
  );
}

/** Whose it is stays unsaid: who asks may not see that repository. */
function takenPath(host: string, path: string): RegistriesError {
  return new RegistriesError(
    'in-use',
    `Another repository of the namespace publishes to ${host}/${path}. Give it another path first, or choose another one here.`,
  );
}

function unknownRegistry({ namespace, name }: RegistryKey): RegistriesError {
  return new RegistriesError('unknown', `The namespace ${namespace} has no registry "${name.slice(0, 63)}".`);
}

function registryOf(row: Omit<Row<'registries'>, 'password_sealed'>): ExternalRegistry {
  return {
    namespace: row.namespace,
    name: row.name,
    host: row.host,
    insecure: row.insecure !== 0,
    prefix: row.prefix,
    username: row.username,
    ...(row.ca === null ? {} : { ca: row.ca }),
    push: row.push !== 0,
    pull: row.pull !== 0,
    createdAt: row.created_at,
    changedAt: row.changed_at,
  };
}
