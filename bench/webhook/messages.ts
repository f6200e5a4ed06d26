import type { Usage } from '../manager/messages.ts';

export interface ServerOptions {
  readonly databaseUrl: string;
  readonly folder: string;
  /** Where GitHub is said to be. */
  readonly github: string;
}

export type ToServer = { readonly kind: 'usage' } | { readonly kind: 'stop' };
export type FromServer =
  | { readonly kind: 'ready'; readonly url: string; readonly token: string }
  | { readonly kind: 'usage'; readonly usage: Usage };

/** Where deliveries go, and how they prove themselves. */
export interface Target {
  readonly kind: 'token' | 'signed' | 'github';
  readonly url: string;
  /** The write token, or the secret that is signed with. */
  readonly secret: string;
  /** What GitHub has; others have whatever they say. */
  readonly commits?: readonly string[];
}

export interface SenderOptions {
  readonly targets: readonly Target[];
  /** Of so many deliveries one goes to the target at GitHub. */
  readonly githubEvery: number;
  /** Deliveries a second. */
  readonly rate: number;
  readonly seconds: number;
  /** Seconds before those that are counted. */
  readonly warmUp: number;
}

export interface Sent {
  readonly kind: 'sent';
  /** Milliseconds from when each was due to its whole answer; those of the warm-up are left out. */
  readonly times: readonly number[];
  /** Answers by their status, those of the warm-up too; `error` for none. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Milliseconds that the sender was late with the latest one. */
  readonly late: number;
  readonly usage: Usage;
}
