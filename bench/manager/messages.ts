/** What the processes of this benchmark tell each other. Times are milliseconds since 1970. */

export interface ManagerOptions {
  readonly name: string;
  readonly databaseUrl: string;
  /** Absent: events stay in the process, so there is one manager. */
  readonly redisPort?: number;
  /** Sockets of the worker hosts. */
  readonly hosts: readonly string[];
  /** PEM; the same for all managers. */
  readonly tokenKey: string;
  readonly allowedWorkerCount: number;
}

export type ToManager =
  | { readonly kind: 'enqueue'; readonly count: number; readonly namespaces: number }
  /** Follows the logs of all builds that this manager made, and counts what comes. */
  | { readonly kind: 'follow' }
  /** Forgets the delays measured so far. */
  | { readonly kind: 'measure' }
  | { readonly kind: 'usage' }
  | { readonly kind: 'stop' };

export type FromManager =
  | { readonly kind: 'ready'; readonly address: string }
  | { readonly kind: 'enqueued' }
  | { readonly kind: 'following' }
  | { readonly kind: 'finished'; readonly phases: Readonly<Record<string, number>> }
  | { readonly kind: 'usage'; readonly usage: Usage; readonly delays: readonly number[] }
  | { readonly kind: 'failed'; readonly message: string };

export interface Usage {
  /** Seconds of processor time, user and system. */
  readonly cpu: number;
  /** Bytes of memory: now, and at most. */
  readonly resident: number;
  readonly peak: number;
}

export type ToHost =
  | { readonly kind: 'usage' }
  /** Builds that chatter may end. */
  | { readonly kind: 'release' }
  | { readonly kind: 'stop' };

export type FromHost =
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'usage';
      readonly usage: Usage;
      readonly building: number;
      readonly lines: number;
      readonly failed: readonly string[];
    };

/** How the workers of a host behave. */
export type WorkerScript =
  /** Five phases and twenty lines, as fast as the manager answers. */
  | { readonly kind: 'lifecycle' }
  /** Ten lines a second until they are released. */
  | { readonly kind: 'chatter' };

export interface HostOptions {
  readonly socket: string;
  readonly script: WorkerScript;
}

export function usageNow(): Usage {
  const { user, system } = process.cpuUsage();
  return {
    cpu: (user + system) / 1e6,
    resident: process.memoryUsage.rss(),
    peak: process.resourceUsage().maxRSS * 1024,
  };
}
