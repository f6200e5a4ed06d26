import { CodedError, messageOf } from '../base/coded-error.ts';
import { OutdatedStatement } from './prepared-statements.ts';

/**
 * - unique-violation, foreign-key, constraint: the statement would break a rule of the schema; nothing changed
 * - bad-text: a text cannot be stored: a zero byte, half of a pair
 * - serialization: lost against another transaction (conflict, deadlock, locked file); may be repeated
 * - disk-full: no room; the transaction was rolled back and the database is intact
 * - unavailable: the server or the file cannot be reached, or the database was stopped
 * - corrupt: the file is damaged or no database
 * - newer-schema: the database was made by a later version of Slipway
 * - refused: no permission, a wrong password, a read-only file
 * - failed: anything else, a bad statement for example
 */
export type SqlErrorCode =
  | 'unique-violation'
  | 'foreign-key'
  | 'constraint'
  | 'bad-text'
  | 'serialization'
  | 'disk-full'
  | 'unavailable'
  | 'corrupt'
  | 'newer-schema'
  | 'refused'
  | 'failed';

export class SqlError extends CodedError<SqlErrorCode> {
  /** The constraint or columns a violation names, where the driver says so. */
  readonly constraint: string | undefined;

  constructor(code: SqlErrorCode, message: string, cause?: unknown, constraint?: string) {
    super(code, message, cause);
    this.constraint = constraint;
  }
}

/** Primary result codes of SQLite, and the extended ones that say more. */
const sqliteCodes: ReadonlyMap<number, SqlErrorCode> = new Map([
  [3, 'refused'],
  [5, 'serialization'],
  [6, 'serialization'],
  [8, 'refused'],
  [10, 'unavailable'],
  [11, 'corrupt'],
  [13, 'disk-full'],
  [14, 'unavailable'],
  [19, 'constraint'],
  [23, 'refused'],
  [26, 'corrupt'],
  [787, 'foreign-key'],
  [1555, 'unique-violation'],
  [2067, 'unique-violation'],
  [2579, 'unique-violation'],
]);

const advice: Readonly<Record<SqlErrorCode, string>> = {
  'unique-violation': 'The row exists already',
  'foreign-key': 'A row it refers to does not exist, or is still referred to',
  constraint: 'The values break a rule of the schema',
  'bad-text': 'A text has a zero byte or half of a character in it, which cannot be stored',
  serialization: 'The database is busy with a conflicting change; try again',
  'disk-full':
    'There is no room left where the database lies; nothing was changed. Free some space and try again',
  unavailable: 'The database cannot be reached; check that it runs and that its files can be read',
  corrupt: 'The database is damaged or not a database; restore it from a backup',
  'newer-schema': 'The database was made by a later version of Slipway',
  refused: 'The database refused access; check user, password and file permissions',
  failed: 'The database could not carry out a statement',
};

function make(code: SqlErrorCode, thrown: unknown, constraint?: string): SqlError {
  return new SqlError(code, `${advice[code]} (${messageOf(thrown)}).`, thrown, constraint);
}

/** What node:sqlite throws. */
export function fromSqlite(thrown: unknown): SqlError {
  if (thrown instanceof SqlError) return thrown;
  const { code, errcode } = fieldsOf(thrown);
  if (code === 'ERR_INVALID_STATE') return make('unavailable', thrown);
  if (typeof errcode !== 'number') return make('failed', thrown);
  const message = messageOf(thrown);
  // A write that finds no room before SQLite does its own accounting comes as an I/O error.
  if ((errcode & 0xff) === 10 && /ENOSPC|disk is full|disk quota/i.test(message))
    return make('disk-full', thrown);
  const found = sqliteCodes.get(errcode) ?? sqliteCodes.get(errcode & 0xff) ?? 'failed';
  return make(found, thrown, /constraint failed: (.+)$/.exec(message)?.[1]);
}

const unavailableNodeCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EACCES',
]);

/** What pg throws: SQLSTATE of the server, a code of Node's, or a bare message of the pool's. */
export function fromPostgres(thrown: unknown): SqlError {
  if (thrown instanceof SqlError) return thrown;
  if (thrown instanceof OutdatedStatement) return make('serialization', thrown);
  const { code, constraint } = fieldsOf(thrown);
  const name = typeof constraint === 'string' ? constraint : undefined;
  if (typeof code !== 'string') {
    const lost =
      /terminated|timeout exceeded|Client has encountered a connection error|not queryable|after calling end|been discarded/i;
    return make(lost.test(messageOf(thrown)) ? 'unavailable' : 'failed', thrown);
  }
  if (unavailableNodeCodes.has(code)) return make('unavailable', thrown);
  switch (code) {
    case '23505':
      return make('unique-violation', thrown, name);
    case '23503':
      return make('foreign-key', thrown, name);
    case '22021':
    case '22P05':
      return make('bad-text', thrown);
    case '40001':
    case '40P01':
    case '55P03':
      return make('serialization', thrown);
    case '53100':
      return make('disk-full', thrown);
    case 'XX001':
    case 'XX002':
      return make('corrupt', thrown);
  }
  switch (code.slice(0, 2)) {
    case '23':
      return make('constraint', thrown, name);
    case '08':
    case '53':
    case '57':
      return make('unavailable', thrown);
    case '28':
    case '42':
      return make(code === '42501' || code.startsWith('28') ? 'refused' : 'failed', thrown);
    default:
      return make('failed', thrown);
  }
}

/** What a function of ours in PostgreSQL raised under this SQLSTATE, in its DETAIL; undefined: it is another error. */
export function raisedDetail(thrown: unknown, state: string): string | undefined {
  if (!(thrown instanceof SqlError)) return undefined;
  const { code, detail } = fieldsOf(thrown.cause);
  return code === state && typeof detail === 'string' ? detail : undefined;
}

function fieldsOf(thrown: unknown): {
  code?: unknown;
  errcode?: unknown;
  constraint?: unknown;
  detail?: unknown;
} {
  return typeof thrown === 'object' && thrown !== null ? thrown : {};
}
