import { GroupCommit } from '../base/group-commit.ts';
import type { ClaimRequest, RunningAttempt } from './build-queue.ts';

/**
 * Claims asked for while one is under way are made as one, and what it gives is dealt out in the order of asking. Only
 * claims that differ in nothing but their limit go together; a manager's do. There are as many kinds of claims as
 * managers with one configuration: one, but in tests.
 */
export class SharedClaims {
  readonly #claim: (request: ClaimRequest) => Promise<readonly RunningAttempt[]>;
  readonly #groups = new Map<string, GroupCommit<number, readonly RunningAttempt[]>>();

  constructor(claim: (request: ClaimRequest) => Promise<readonly RunningAttempt[]>) {
    this.#claim = claim;
  }

  async claim({ limit, ...same }: ClaimRequest): Promise<readonly RunningAttempt[]> {
    const key = JSON.stringify([same.manager, same.capacity, same.lease]);
    const group =
      this.#groups.get(key) ??
      new GroupCommit({ commit: (limits: readonly number[]) => this.#together(limits, same) });
    this.#groups.set(key, group);
    return group.submit(limit);
  }

  async #together(
    limits: readonly number[],
    same: Omit<ClaimRequest, 'limit'>,
  ): Promise<readonly (readonly RunningAttempt[])[]> {
    const wanted = limits.reduce((sum, limit) => sum + limit, 0);
    const claimed = [...(await this.#claim({ ...same, limit: wanted }))];
    return limits.map((limit) => claimed.splice(0, limit));
  }
}
