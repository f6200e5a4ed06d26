import type { Clock } from '../base/clock.ts';
import { GroupCommit } from '../base/group-commit.ts';
import type { Database, Sql } from '../db/database.ts';
import { among } from '../db/row-set.ts';
import type { Row } from '../db/schema.ts';
import type { SecretBox } from '../db/secret-box.ts';
import type { RepositoryName } from '../model/repository-name.ts';
import {
  type DisabledReason,
  newTriggerId,
  type Trigger,
  type TriggerId,
  type TriggerService,
} from './trigger.ts';
import type { TriggerConfig } from './trigger-config.ts';
import { triggerOf } from './trigger-rows.ts';
import {
  keptSecretPurpose,
  type TriggerSecretName,
  triggerSecretNames,
  triggerSecretPurpose,
} from './trigger-secret.ts';

export interface TriggerStoreOptions {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly clock: Clock;
}

/** A trigger with what only this server may know. Never leaves `trigger/`. */
export interface TriggerWithSecrets {
  readonly trigger: Trigger;
  readonly secrets: Readonly<Partial<Record<TriggerSecretName, string>>>;
}

/** The same with the secrets that its builds get. */
export interface TriggerForBuilds extends TriggerWithSecrets {
  readonly kept: readonly { readonly id: string; readonly value: Uint8Array }[];
}

/** What activation writes. */
export interface Activation {
  readonly config: TriggerConfig;
  readonly pullRobot: string | undefined;
  readonly publicKey: string;
  readonly privateKey: string;
  readonly writeToken: string;
  /** Absent: the host signs nothing. */
  readonly webhookSecret: string | undefined;
  /** When the first cron entry is due. */
  readonly cronAt: number | undefined;
  /** When the source is first looked at; undefined: there is nobody to ask. */
  readonly pollAt: number | undefined;
}

/** Triggers of one repository; more are not made. */
export const mostTriggers = 100;

/** Triggers in the database, their secrets sealed. */
export class SqlTriggerStore {
  readonly #database: Database;
  readonly #secretBox: SecretBox;
  readonly #clock: Clock;
  /** Each delivery asks for its trigger: many ask at once. */
  readonly #reads: GroupCommit<TriggerId, Row<'triggers'> | undefined>;

  constructor({ database, secretBox, clock }: TriggerStoreOptions) {
    this.#database = database;
    this.#secretBox = secretBox;
    this.#clock = clock;
    this.#reads = new GroupCommit({ lanes: 2, commit: async (ids) => await this.#rows(ids) });
  }

  async create(
    { namespace, name }: RepositoryName,
    what: { readonly service: TriggerService; readonly user: string; readonly token?: string },
  ): Promise<Trigger> {
    const id = newTriggerId();
    const row = await this.#database.sql
      .insertInto('triggers')
      .values({
        id,
        namespace,
        repository: name,
        service: what.service,
        connected_user: what.user,
        auth_token_sealed: what.token === undefined ? null : this.#seal(id, 'auth_token', what.token),
        created_at: this.#clock.now(),
      })
      .returningAll()
      .executeTakeFirstOrThrow();
    return triggerOf(row);
  }

  async count({ namespace, name }: RepositoryName): Promise<number> {
    const rows = await this.#of(namespace, name).select('id').limit(mostTriggers).execute();
    return rows.length;
  }

  async list({ namespace, name }: RepositoryName): Promise<readonly Trigger[]> {
    const rows = await this.#of(namespace, name)
      .selectAll()
      .orderBy('created_at')
      .orderBy('id')
      .limit(mostTriggers)
      .execute();
    return rows.map(triggerOf);
  }

  async find(id: TriggerId): Promise<Trigger | undefined> {
    const row = await this.#row(id);
    return row === undefined ? undefined : triggerOf(row);
  }

  async findWithSecrets(id: TriggerId): Promise<TriggerWithSecrets | undefined> {
    const row = await this.#row(id);
    return row === undefined ? undefined : { trigger: triggerOf(row), secrets: this.#open(id, row) };
  }

  /** The token as it is kept now, of the connected account. */
  async authToken(id: TriggerId): Promise<string | undefined> {
    return (await this.findWithSecrets(id))?.secrets.auth_token;
  }

  async keepAuthToken(id: TriggerId, token: string): Promise<void> {
    await this.#database.sql
      .updateTable('triggers')
      .set({ auth_token_sealed: this.#seal(id, 'auth_token', token) })
      .where('id', '=', id)
      .execute();
  }

  /** Undefined: it is not there, or was activated meanwhile. */
  async activate(id: TriggerId, what: Activation): Promise<Trigger | undefined> {
    const row = await this.#database.sql
      .updateTable('triggers')
      .set({
        active: 1,
        config_json: JSON.stringify(what.config),
        pull_robot: what.pullRobot ?? null,
        public_key: what.publicKey,
        private_key_sealed: this.#seal(id, 'private_key', what.privateKey),
        write_token_sealed: this.#seal(id, 'write_token', what.writeToken),
        webhook_secret_sealed:
          what.webhookSecret === undefined ? null : this.#seal(id, 'webhook_secret', what.webhookSecret),
        cron_at: what.cronAt ?? null,
        poll_at: what.pollAt ?? null,
      })
      .where('id', '=', id)
      .where('active', '=', 0)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : triggerOf(row);
  }

  /** `pullRobot`: null takes it away, undefined leaves it. Undefined: it is not there, or not active. */
  async configure(
    id: TriggerId,
    change: (config: TriggerConfig) => {
      readonly config: TriggerConfig;
      readonly cronAt: number | undefined;
    },
    pullRobot: string | null | undefined,
  ): Promise<Trigger | undefined> {
    return await this.#database.transaction(async (sql) => {
      const before = await this.#held(sql, id);
      if (before === undefined || before.active !== 1) return undefined;
      const { config } = triggerOf(before);
      if (config === undefined) return undefined;
      const next = change(config);
      const row = await sql
        .updateTable('triggers')
        .set({
          config_json: JSON.stringify(next.config),
          cron_at: next.cronAt ?? null,
          ...(pullRobot === undefined ? {} : { pull_robot: pullRobot }),
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      return triggerOf(row);
    });
  }

  /**
   * Failures are counted anew from here on, and what was pushed meanwhile is remembered as known by the next look at the
   * source: it was refused. What is nobody's becomes `user`'s. Undefined: it is not there.
   */
  async enable(id: TriggerId, cronAt: number | undefined, user?: string): Promise<Trigger | undefined> {
    return await this.#database.transaction(async (sql) => {
      const newest = await sql
        .selectFrom('builds')
        .select('number')
        .where('trigger_id', '=', id)
        .orderBy('number', 'desc')
        .limit(1)
        .executeTakeFirst();
      await sql.deleteFrom('trigger_refs').where('trigger_id', '=', id).execute();
      const row = await sql
        .updateTable('triggers')
        .set({
          enabled: 1,
          refs_known: 0,
          disabled_reason: null,
          disabled_at: null,
          counted_from: newest?.number ?? 0,
          cron_at: cronAt ?? null,
          ...(user === undefined
            ? {}
            : { connected_user: (on) => on.fn.coalesce('connected_user', on.val(user)) }),
        })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? undefined : triggerOf(row);
    });
  }

  /** Undefined: it is not there, or was switched off before. */
  async disable(
    id: TriggerId,
    reason: DisabledReason,
    sql: Sql = this.#database.sql,
  ): Promise<Trigger | undefined> {
    const row = await sql
      .updateTable('triggers')
      .set({ enabled: 0, disabled_reason: reason, disabled_at: this.#clock.now() })
      .where('id', '=', id)
      .where('enabled', '=', 1)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : triggerOf(row);
  }

  async remove(id: TriggerId): Promise<boolean> {
    const { numDeletedRows } = await this.#database.sql
      .deleteFrom('triggers')
      .where('id', '=', id)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  /** Of its builds, newest first. */
  async buildIds(id: TriggerId, limit: number): Promise<readonly string[]> {
    const rows = await this.#database.sql
      .selectFrom('builds')
      .select('id')
      .where('trigger_id', '=', id)
      .orderBy('number', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  }

  /** Ids of the secrets that builds of this trigger get. */
  async secretIds(id: TriggerId): Promise<readonly string[]> {
    const rows = await this.#database.sql
      .selectFrom('trigger_secrets')
      .select('id')
      .where('trigger_id', '=', id)
      .orderBy('id')
      .execute();
    return rows.map((row) => row.id);
  }

  /** Undefined takes it away. False: there was nothing to take away. */
  async setSecret(id: TriggerId, secret: string, value: Uint8Array | undefined): Promise<boolean> {
    if (value === undefined) {
      const { numDeletedRows } = await this.#database.sql
        .deleteFrom('trigger_secrets')
        .where('trigger_id', '=', id)
        .where('id', '=', secret)
        .executeTakeFirst();
      return numDeletedRows > 0n;
    }
    const sealed = this.#secretBox.seal(value, keptSecretPurpose(id, secret));
    const changed_at = this.#clock.now();
    await this.#database.sql
      .insertInto('trigger_secrets')
      .values({ trigger_id: id, id: secret, sealed, changed_at })
      .onConflict((on) => on.columns(['trigger_id', 'id']).doUpdateSet({ sealed, changed_at }))
      .execute();
    return true;
  }

  async findForBuilds(id: TriggerId): Promise<TriggerForBuilds | undefined> {
    const found = await this.findWithSecrets(id);
    return found === undefined ? undefined : { ...found, kept: await this.#kept(id) };
  }

  async #kept(id: TriggerId): Promise<TriggerForBuilds['kept']> {
    const rows = await this.#database.sql
      .selectFrom('trigger_secrets')
      .selectAll()
      .where('trigger_id', '=', id)
      .orderBy('id')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      value: this.#secretBox.open(row.sealed, keptSecretPurpose(id, row.id)),
    }));
  }

  #of(namespace: string, name: string) {
    return this.#database.sql
      .selectFrom('triggers')
      .where('namespace', '=', namespace)
      .where('repository', '=', name);
  }

  async #row(id: TriggerId): Promise<Row<'triggers'> | undefined> {
    return await this.#reads.submit(id);
  }

  async #rows(ids: readonly TriggerId[]): Promise<readonly (Row<'triggers'> | undefined)[]> {
    const rows = await this.#database.sql
      .selectFrom('triggers')
      .selectAll()
      .where(among(this.#database.dialect, 'id', [...new Set(ids)]))
      .execute();
    const byId = new Map(rows.map((row) => [row.id, row]));
    return ids.map((id) => byId.get(id));
  }

  async #held(sql: Sql, id: TriggerId): Promise<Row<'triggers'> | undefined> {
    const rows = sql.selectFrom('triggers').selectAll().where('id', '=', id);
    return await (this.#database.dialect === 'postgres' ? rows.forUpdate() : rows).executeTakeFirst();
  }

  #seal(id: TriggerId, name: TriggerSecretName, text: string): Uint8Array {
    return this.#secretBox.seal(Buffer.from(text), triggerSecretPurpose(id, name));
  }

  #open(id: TriggerId, row: Row<'triggers'>): TriggerWithSecrets['secrets'] {
    return Object.fromEntries(
      triggerSecretNames.flatMap((name) => {
        const sealed = row[`${name}_sealed`];
        if (sealed === null) return [];
        return [[name, Buffer.from(this.#secretBox.open(sealed, triggerSecretPurpose(id, name))).toString()]];
      }),
    );
  }
}
