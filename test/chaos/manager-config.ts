import type { ManagerSettings } from '../../src/manager/settings.ts';

/** What a manager process of the fault runner is told, as JSON in the file its first argument names. */
export interface ManagerConfig {
  readonly index: number;
  readonly seed: number;
  readonly port: number;
  /** host:port where workers and clients find the managers: a proxy in front of all of them. */
  readonly front: string;
  readonly databaseUrl: string;
  readonly redisPort: number;
  /** This manager's own. */
  readonly folder: string;
  /** Shared by all managers. */
  readonly keys: string;
  readonly blobs: string;
  readonly archives: string;
  readonly storage: string;
  /** Ports of the worker hosts on loopback. */
  readonly hosts: readonly number[];
  readonly settings: ManagerSettings;
}

/** To a manager process. */
export interface ManagerOrder {
  /** Milliseconds that its clock is wrong by. */
  readonly offset: number;
}

/** From a manager process or a worker host, once it can be used. */
export interface ProcessReady {
  readonly ready: true;
}
