import type { ConfigFaultCode, FaultList } from './config-fault.ts';
import { type ConfigNode, childPath, type MapNode, type Origin } from './config-node.ts';
import type { CheckedConfig } from './schema.ts';

/** A checked value in which what was wrong is missing. */
type Loose<T> = T extends readonly [infer First, infer Second]
  ? readonly [Loose<First> | undefined, Loose<Second> | undefined]
  : T extends readonly (infer Item)[]
    ? readonly (Loose<Item> | undefined)[]
    : T extends object
      ? { readonly [Key in keyof T]?: Loose<T[Key]> | undefined }
      : T;

export type LooseConfig = Loose<CheckedConfig>;

type Keys = readonly (string | number)[];

/** Where rules say what is wrong: by the keys that lead to it. */
export class RuleReport {
  readonly #root: MapNode;
  readonly #faults: FaultList;

  constructor(root: MapNode, faults: FaultList) {
    this.#root = root;
    this.#faults = faults;
  }

  /** `message` follows the path: "is missing …". */
  fault(
    code: ConfigFaultCode,
    keys: Keys,
    message: string,
    more: { value?: string; allowed?: string; nearest?: string } = {},
  ): void {
    const { path, origin } = this.#find(keys);
    this.#faults.add({ code, path, origin, message: `${path} ${message}`, ...more });
  }

  /** A value that is wrong whatever else is set. */
  notAllowed(keys: Keys, value: string, allowed: string): void {
    this.fault('not-allowed', keys, `is ${JSON.stringify(value)}; it must be ${allowed}.`, {
      value: JSON.stringify(value),
      allowed,
    });
  }

  /** Two keys that go together only. */
  together(
    at: Keys,
    has: Readonly<Record<string, unknown>> | undefined,
    first: string,
    second: string,
  ): void {
    if (has === undefined || (has[first] === undefined) === (has[second] === undefined)) return;
    const [given, missing] = has[first] === undefined ? [second, first] : [first, second];
    this.fault('missing-key', [...at, missing], `is missing; ${given} is of no use without it.`);
  }

  /** The node, or where it would be. */
  #find(keys: Keys): { path: string; origin: Origin } {
    let at: ConfigNode | undefined = this.#root;
    let { path, origin }: { path: string; origin: Origin } = this.#root;
    for (const key of keys) {
      at =
        at?.kind === 'map'
          ? at.entries.get(String(key))
          : at?.kind === 'list'
            ? at.items[Number(key)]
            : undefined;
      path = at?.path ?? childPath(path, key);
      origin = at?.origin ?? origin;
    }
    return { path, origin };
  }
}
