export type DialectName = 'sqlite' | 'postgres';

/** The words in which the two dialects differ. `text` sorts by code point in both. */
export interface ColumnTypes {
  readonly int: string;
  readonly real: string;
  readonly bytes: string;
  readonly text: string;
  /** A primary key that counts up. */
  readonly serial: string;
  /** What stands behind the closing parenthesis of a table. */
  readonly end: string;
}
