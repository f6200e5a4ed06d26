/** Where a value was written. */
export type Origin =
  | { readonly kind: 'file'; readonly line: number; readonly column: number }
  | { readonly kind: 'environment'; readonly variable: string };

interface Written {
  /** As people write it: `BUILD_MANAGER[1].ORCHESTRATOR.REDIS_PORT`; empty for the whole file. */
  readonly path: string;
  readonly origin: Origin;
}

export interface ScalarNode extends Written {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
  /** As written, without quotes: `3.10` is the number 3.1, but as a tag it stays `3.10`. */
  readonly text: string;
}

export interface ListNode extends Written {
  readonly kind: 'list';
  readonly items: readonly ConfigNode[];
}

export interface MapNode extends Written {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, ConfigNode>;
}

/** A configuration as it was written, before anybody knows what it means. */
export type ConfigNode = ScalarNode | ListNode | MapNode;

export function childPath(parent: string, key: string | number): string {
  if (typeof key === 'number') return `${parent}[${key}]`;
  return parent === '' ? key : `${parent}.${key}`;
}

export function isNothing(node: ConfigNode | undefined): node is undefined | (ScalarNode & { value: null }) {
  return node === undefined || (node.kind === 'scalar' && node.value === null);
}
