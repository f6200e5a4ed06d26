import type { RepositoryName } from '../model/repository-name.ts';
import type { DisabledReason, TriggerId } from './trigger.ts';

/** Something the administrators of a repository are to know, until one of them says that it is known. */
export interface Notice {
  readonly id: string;
  readonly repository: RepositoryName;
  readonly triggerId?: TriggerId;
  readonly kind: 'trigger-disabled';
  readonly message: string;
  readonly createdAt: number;
}

export interface Notices {
  /** Newest first, those that nobody dismissed. */
  list(repository: RepositoryName, limit: number): Promise<readonly Notice[]>;
  /** False: there is none, or it was dismissed before. */
  dismiss(repository: RepositoryName, id: string, by: string): Promise<boolean>;
}

export type AutomaticReason = Exclude<DisabledReason, 'user_toggled'>;
