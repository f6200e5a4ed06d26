import type { Usage } from '../manager/messages.ts';

export interface ServerOptions {
  /** Absent: SQLite, in this file. */
  readonly databaseUrl?: string;
  readonly file?: string;
  readonly attempts: number;
}

export type ToServer = { readonly kind: 'usage' } | { readonly kind: 'stop' };

export type FromServer =
  | { readonly kind: 'ready'; readonly address: string; readonly tokens: readonly string[] }
  | { readonly kind: 'usage'; readonly usage: Usage; readonly entries: number }
  | { readonly kind: 'failed'; readonly message: string };

export interface SenderOptions {
  readonly address: string;
  readonly tokens: readonly string[];
  readonly mode: 'single' | 'batches';
  readonly milliseconds: number;
}

export type FromSender =
  | { readonly kind: 'sent'; readonly lines: number; readonly seconds: number; readonly usage: Usage }
  | { readonly kind: 'failed'; readonly message: string };
