export interface GroupCommitOptions<Item, Result> {
  /** Carries out a group: all of it, or it throws and nothing has happened. One result for each item, in order. */
  readonly commit: (items: readonly Item[]) => Promise<readonly Result[]>;
  /** Items of one group at most. */
  readonly most?: number;
  /** Groups under way at once; one unless given. */
  readonly lanes?: number;
  /** What an item weighs, and how much a group may weigh: a group is closed before it gets heavier, but never empty. */
  readonly weight?: { readonly of: (item: Item) => number; readonly most: number };
  /** Of items with the same key one at most is under way; the others keep their order. */
  readonly key?: (item: Item) => string;
  /**
   * A group waits so many milliseconds for more, or until `enough` wait, when the one before it had `busy` items or more:
   * what a group costs besides its items is then paid by more of them. When little happens nobody waits.
   */
  readonly gather?: { readonly milliseconds: number; readonly busy: number; readonly enough: number };
  /** Whether a failed group may do better one by one: its fault may be that of a single item. */
  readonly mayDivide?: (thrown: unknown) => boolean;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (thrown: unknown) => void;
}

/**
 * Many callers' writes (or reads) as one: what is asked for while a group is under way makes up the next one. So an idle
 * system answers as fast as it can, and a busy one pays what a group costs once for many. A caller's promise resolves
 * when its group is done, never earlier.
 *
 * It holds what callers wait for and nothing else, so it is bounded by their number.
 */
export class GroupCommit<Item, Result> {
  readonly #options: GroupCommitOptions<Item, Result>;
  readonly #lanes: number;
  readonly #most: number;
  #waiting: Waiting<Item, Result>[] = [];
  readonly #busy = new Set<string>();
  #underWay = 0;
  #begins = false;
  #gathering: NodeJS.Timeout | undefined;
  /** Items of the group that began last. */
  #last = 0;

  constructor(options: GroupCommitOptions<Item, Result>) {
    this.#options = options;
    this.#lanes = options.lanes ?? 1;
    this.#most = options.most ?? 256;
  }

  submit(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#begin();
    });
  }

  /** Not at once: what else arrives in this turn of the event loop goes along. */
  #begin(): void {
    if (this.#underWay >= this.#lanes || this.#waiting.length === 0) return;
    const { gather } = this.#options;
    if (gather === undefined || this.#last < gather.busy || this.#waiting.length >= gather.enough) {
      clearTimeout(this.#gathering);
      this.#gathering = undefined;
      if (this.#begins) return;
      this.#begins = true;
      setImmediate(() => this.#beginNow());
    } else if (!this.#begins) {
      this.#gathering ??= setTimeout(() => {
        this.#gathering = undefined;
        this.#beginNow();
      }, gather.milliseconds);
    }
  }

  #beginNow(): void {
    this.#begins = false;
    if (this.#underWay >= this.#lanes) return;
    const group = this.#take();
    if (group.length === 0) return;
    this.#last = group.length;
    this.#underWay += 1;
    void this.#carryOut(group).finally(() => {
      this.#underWay -= 1;
      const { key } = this.#options;
      if (key !== undefined) for (const { item } of group) this.#busy.delete(key(item));
      this.#begin();
    });
    this.#begin();
  }

  #take(): Waiting<Item, Result>[] {
    const { key, weight } = this.#options;
    const group: Waiting<Item, Result>[] = [];
    const left: Waiting<Item, Result>[] = [];
    const passed = new Set<string>();
    let weighs = 0;
    let full = false;
    for (const waiting of this.#waiting) {
      const own = key?.(waiting.item);
      const weighsMore = weight?.of(waiting.item) ?? 0;
      full ||=
        group.length >= this.#most ||
        (group.length > 0 && weight !== undefined && weighs + weighsMore > weight.most);
      if (full || (own !== undefined && (this.#busy.has(own) || passed.has(own)))) {
        if (own !== undefined) passed.add(own);
        left.push(waiting);
        continue;
      }
      if (own !== undefined) this.#busy.add(own);
      weighs += weighsMore;
      group.push(waiting);
    }
    this.#waiting = left;
    return group;
  }

  async #carryOut(group: readonly Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#options.commit(group.map(({ item }) => item));
      if (results.length !== group.length) throw new TypeError('a group has one result for each item');
      for (const [index, { resolve }] of group.entries()) resolve(results[index] as Result);
    } catch (thrown) {
      if (group.length === 1 || this.#options.mayDivide?.(thrown) !== true) {
        for (const { reject } of group) reject(thrown);
        return;
      }
      for (const waiting of group) await this.#carryOut([waiting]);
    }
  }
}
