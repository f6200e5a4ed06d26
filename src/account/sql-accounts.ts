import type { Clock } from '../base/clock.ts';
import type { Database, Sql } from '../db/database.ts';
import { isNamespace, type RepositoryName } from '../model/repository-name.ts';
import { AccountError } from './account-error.ts';
import type { Accounts, Principal, Role } from './accounts.ts';
import { onDuplicate } from './duplicate.ts';
import { insertUser } from './insert-user.ts';
import type { PasswordHasher } from './password-hash.ts';
import { requirePassword } from './password-rule.ts';
import { isRobotName } from './robot-name.ts';
import { SqlOrganizations } from './sql-organizations.ts';
import { asStored, SqlPersonalTokens, type SuperuserRule } from './sql-personal-tokens.ts';
import { SqlRepositories } from './sql-repositories.ts';
import { SqlRobots } from './sql-robots.ts';
import { SqlTeams } from './sql-teams.ts';
import { SqlUsers } from './sql-users.ts';
import { storable } from './storable.ts';

/** Accounts in the database; both dialects. Making users and signing in is here, all else in files of its own. */
export class SqlAccounts implements Accounts {
  readonly users: SqlUsers;
  readonly robots: SqlRobots;
  readonly organizations: SqlOrganizations;
  readonly teams: SqlTeams;
  readonly #database: Database;
  readonly #passwords: PasswordHasher;
  readonly #clock: Clock;
  readonly #isSuperuser: SuperuserRule;
  readonly #tokens: SqlPersonalTokens;
  readonly #repositories: SqlRepositories;

  constructor({
    database,
    passwords,
    clock,
    isSuperuser = asStored,
  }: {
    readonly database: Database;
    readonly passwords: PasswordHasher;
    readonly clock: Clock;
    /** Default: as stored. */
    readonly isSuperuser?: SuperuserRule;
  }) {
    this.#isSuperuser = isSuperuser;
    this.#database = database;
    this.#passwords = passwords;
    this.#clock = clock;
    this.#tokens = new SqlPersonalTokens(database, clock, isSuperuser);
    this.#repositories = new SqlRepositories(database, clock);
    this.users = new SqlUsers(database, passwords, isSuperuser, clock);
    this.robots = new SqlRobots(database, clock);
    this.organizations = new SqlOrganizations(database, clock);
    this.teams = new SqlTeams(database, clock);
  }

  get #sql(): Sql {
    return this.#database.sql;
  }

  async createUser({
    username,
    password,
    email,
    superuser = false,
  }: Parameters<Accounts['createUser']>[0]): Promise<void> {
    if (!isNamespace(username))
      throw new AccountError(
        'bad-name',
        `"${username.slice(0, 255)}" cannot be a user name. Use 2 to 255 lower-case letters and digits, parted by single . _ or -.`,
      );
    requirePassword(password);
    const hash = await this.#passwords.hash(password);
    const now = this.#clock.now();
    try {
      await this.#database.transaction(async (sql) => {
        await insertUser(sql, { username, passwordHash: hash, email, superuser, now });
      });
    } catch (thrown) {
      throw onDuplicate(thrown, `The name "${username}" is taken. Choose another one.`);
    }
  }

  async anyUser(): Promise<boolean> {
    return (await this.#sql.selectFrom('users').select('username').limit(1).executeTakeFirst()) !== undefined;
  }

  async verifyPassword(username: string, password: string): Promise<Principal | undefined> {
    const row = await this.#sql
      .selectFrom('users')
      .select(['username', 'password_hash', 'superuser'])
      .where('username', '=', storable(username))
      .where('disabled', '=', 0)
      .executeTakeFirst();
    const right = await this.#passwords.verify(password, row?.password_hash);
    if (!right || row === undefined) return undefined;
    return {
      kind: 'user',
      username: row.username,
      superuser: this.#isSuperuser(row.username, row.superuser === 1),
      scopes: 'all',
    };
  }

  async isEnabled(username: string): Promise<boolean> {
    if (isRobotName(username)) return await this.robots.isEnabled(username);
    const row = await this.#sql
      .selectFrom('users')
      .select('disabled')
      .where('username', '=', storable(username))
      .executeTakeFirst();
    return row?.disabled === 0;
  }

  async verifyToken(token: string): Promise<Principal | undefined> {
    return (await this.#tokens.verifyToken(token)) ?? (await this.robots.verify(token));
  }

  createToken(username: string, token: Parameters<Accounts['createToken']>[1]) {
    return this.#tokens.createToken(username, token);
  }

  tokens(username: string) {
    return this.#tokens.tokens(username);
  }

  revokeToken(username: string, id: string) {
    return this.#tokens.revokeToken(username, id);
  }

  createRepository(name: RepositoryName, options: Parameters<Accounts['createRepository']>[1]) {
    return this.#repositories.createRepository(name, options);
  }

  repository(name: RepositoryName) {
    return this.#repositories.repository(name);
  }

  repositories(principal: Principal, query: Parameters<Accounts['repositories']>[1]) {
    return this.#repositories.repositories(principal, query);
  }

  changeRepository(name: RepositoryName, change: Parameters<Accounts['changeRepository']>[1]) {
    return this.#repositories.changeRepository(name, change);
  }

  deleteRepository(name: RepositoryName) {
    return this.#repositories.deleteRepository(name);
  }

  isFreed(name: RepositoryName) {
    return this.#repositories.isFreed(name);
  }

  roleOn(principal: Principal, name: RepositoryName) {
    return this.#repositories.roleOn(principal, name);
  }

  permissions(name: RepositoryName) {
    return this.#repositories.permissions(name);
  }

  setPermission(name: RepositoryName, username: string, role: Role | undefined) {
    return this.#repositories.setPermission(name, username, role);
  }
}
