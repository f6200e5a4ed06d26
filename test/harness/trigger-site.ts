import { randomBytes } from 'node:crypto';
import { PasswordHasher } from '../../src/account/password-hash.ts';
import { SqlAccounts } from '../../src/account/sql-accounts.ts';
import { SqlAuditLog } from '../../src/audit/sql-audit-log.ts';
import { ManualClock } from '../../src/base/clock.ts';
import { Database } from '../../src/db/database.ts';
import { SecretBox } from '../../src/db/secret-box.ts';
import type { RepositoryName } from '../../src/model/repository-name.ts';
import { SqlBuildQueue } from '../../src/queue/sql-build-queue.ts';
import type { BaseImages } from '../../src/trigger/base-images.ts';
import type { GitHost, HookDelivery } from '../../src/trigger/git-host.ts';
import { gitHosts } from '../../src/trigger/host/hosts.ts';
import { type OpenTriggers, openTriggers, type TriggersOptions } from '../../src/trigger/open-triggers.ts';
import type { Trigger, TriggerService } from '../../src/trigger/trigger.ts';
import type { TriggerConfig } from '../../src/trigger/trigger-config.ts';
import type { ScratchDatabase } from './scratch-database.ts';

export const siteRepository: RepositoryName = { namespace: 'team', name: 'app' };
export const sourceUrl = 'git@git.example.com:team/app.git';
export const never = new AbortController().signal;

export interface TriggerSite extends AsyncDisposable {
  readonly database: Database;
  readonly secretBox: SecretBox;
  readonly queue: SqlBuildQueue;
  readonly audit: SqlAuditLog;
  readonly clock: ManualClock;
  readonly open: OpenTriggers;
  readonly counted: string[];
  /** Another manager on the same database. */
  another(): Promise<Pick<TriggerSite, 'open' | 'queue'>>;
  /** An active custom trigger with its write token. */
  custom(config?: Partial<TriggerConfig>): Promise<{ readonly trigger: Trigger; readonly token: string }>;
  /** Makes builds of everything that waits. */
  settle(): Promise<void>;
}

export interface TriggerSiteOptions {
  readonly hosts?: ReadonlyMap<TriggerService, GitHost>;
  readonly baseImages?: BaseImages;
  readonly settings?: Partial<TriggersOptions>;
}

/** Triggers over a database, with the real queue and audit log; nothing runs in the background. The caller ends the database. */
export async function triggerSite(
  scratch: ScratchDatabase,
  {
    hosts = gitHosts({}),
    baseImages = { look: async () => 'elsewhere' },
    settings = {},
  }: TriggerSiteOptions = {},
): Promise<TriggerSite> {
  const { database } = scratch;
  const clock = new ManualClock();
  const secretBox = new SecretBox({ key: randomBytes(32) });
  const counted: string[] = [];
  const ends: (() => Promise<void>)[] = [];
  await database.sql
    .insertInto('repositories')
    .values({ ...siteRepository, visibility: 'private', created_at: clock.now() })
    .execute();

  const manager = async (on: Database) => {
    const queue = new SqlBuildQueue(on, { secretBox, clock });
    await queue.start();
    const audit = new SqlAuditLog({ database: on, clock });
    const open = openTriggers({
      database: on,
      secretBox,
      queue,
      audit,
      hosts,
      baseImages,
      accounts: new SqlAccounts({ database: on, passwords: new PasswordHasher(), clock }).users,
      logUrl: ({ namespace, name }, build) =>
        `https://slipway.example.com/repository/${namespace}/${name}/build/${build}`,
      failureThreshold: 3,
      internalErrorThreshold: 2,
      clock,
      metrics: {
        delivered: (outcome) => counted.push(`delivered ${outcome}`),
        queued: () => counted.push('queued'),
        statusSent: (result) => counted.push(`status ${result}`),
        disabled: (reason) => counted.push(`disabled ${reason}`),
      },
      log: {
        info: () => {},
        warn: () => {},
        error: (detail) => counted.push(`error ${JSON.stringify(detail)}`),
      },
      ...settings,
    });
    ends.push(async () => {
      await open.stop();
      await queue.stop();
    });
    return { queue, audit, open };
  };

  const first = await manager(database);
  const { triggers, background } = first.open;
  return {
    ...first,
    database,
    secretBox,
    clock,
    counted,
    async another() {
      const second = await Database.open(scratch.options);
      const made = await manager(second);
      ends.unshift(async () => await second.stop());
      return made;
    },
    async custom(config = {}) {
      const { id } = await triggers.create(siteRepository, { service: 'custom-git', user: 'ann' });
      const origin = 'https://slipway.example.com';
      const activated = await triggers.activate(
        id,
        { config: { build_source: sourceUrl, ...config }, origin },
        never,
      );
      const url = activated.credentials.find(({ name }) => name === 'Webhook Endpoint URL')?.value ?? '';
      return { trigger: activated.trigger, token: new URL(url).password };
    },
    async settle() {
      while (await background.worker.round(never)) {
        // Until nothing waits.
      }
    },
    async [Symbol.asyncDispose]() {
      for (const end of ends.reverse()) await end();
    },
  };
}

const commitOf = (text: string) => Buffer.from(text).toString('hex').padEnd(40, '0').slice(0, 40);

/** What a hook of a custom repository posts. */
export function push(ref: string, more: Readonly<Record<string, unknown>> = {}): HookDelivery {
  return posted({ commit: commitOf(ref), ref, default_branch: 'main', ...more });
}

export function posted(body: unknown, headers: HookDelivery['headers'] = {}): HookDelivery {
  return {
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? Buffer.from(body) : Buffer.from(JSON.stringify(body)),
  };
}

export function info(message: string) {
  return { commit_info: { url: 'https://git.example.com/c', message, date: '2026-01-02T03:04:05Z' } };
}
