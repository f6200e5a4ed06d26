import Type, { type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import type { ConfigFaultCode, FaultList } from './config-fault.ts';
import { type ConfigNode, childPath, isNothing, type MapNode, type ScalarNode } from './config-node.ts';
import { type LeafKeywords, leafOf } from './leaf.ts';
import { nearest } from './nearest.ts';
import { defaultOf, readText } from './read-text.ts';
import { shown, unknownKeyHint } from './wording.ts';

/** Keywords of objects, lists and unions, beside TypeBox's own. */
interface Keywords {
  readonly description?: string;
  readonly allowed?: string;
  /** Keys that are known and have no effect. */
  readonly ignores?: readonly string[];
  /** Takes every key that begins so. */
  readonly open?: string;
  /** Of a member of a union: the value that chooses it. */
  readonly variant?: string;
  /** Of a union: the key whose value chooses, `first` item of the list, or the `prefix` of the first key. */
  readonly chosenBy?: string;
  /** It is checked, and nothing reads it. */
  readonly effect?: 'none';
}

export function keywordsOf(schema: TSchema): Keywords {
  return schema as Keywords;
}

/** Stands for something that is wrong: rules look at the rest, and nobody uses a configuration with faults. */
const wrong = undefined;

/**
 * Reads a tree by a schema: texts become what the schema says, defaults are filled in, and everything that does not fit
 * goes into `faults`. The result has the static type of the schema if there are no faults.
 */
export class NodeChecker {
  readonly #faults: FaultList;
  readonly #onIgnored: (node: ConfigNode) => void;
  /** Keys of the top level that are known and have no effect. */
  readonly #isIgnored: (key: string) => boolean;
  readonly #places: ReadonlyMap<string, readonly string[]>;

  constructor(options: {
    readonly faults: FaultList;
    readonly onIgnored: (node: ConfigNode) => void;
    readonly isIgnored: (key: string) => boolean;
    /** Where keys belong, for those who put one into the wrong place. */
    readonly places: ReadonlyMap<string, readonly string[]>;
  }) {
    this.#faults = options.faults;
    this.#onIgnored = options.onIgnored;
    this.#isIgnored = options.isIgnored;
    this.#places = options.places;
  }

  check(schema: TSchema, node: ConfigNode): unknown {
    const leaf = leafOf(schema);
    if (leaf !== undefined) return this.#leaf(schema, leaf, node);
    if (Type.IsUnion(schema)) return this.#union(schema.anyOf, keywordsOf(schema), node);
    if (Type.IsTuple(schema)) return this.#pair(schema.items as TSchema[], node);
    if (Type.IsArray(schema)) return this.#list(schema, node);
    if (Type.IsRecord(schema)) return this.#record(schema, node);
    if (Type.IsObject(schema)) return this.#object(schema, node, '');
    if (Type.IsLiteral(schema)) return schema.const;
    throw new TypeError(`The schema of ${node.path} is of a kind that is not read.`);
  }

  #leaf(schema: TSchema, leaf: LeafKeywords, node: ConfigNode): unknown {
    if (node.kind !== 'scalar') return this.#wrongType(node, leaf.allowed);
    if (node.value === null) return leaf.null === undefined ? this.#notAllowed(node, leaf) : null;
    if (leaf.null !== undefined && node.origin.kind === 'environment' && node.text === 'null') return null;
    const read = readText(leaf, node);
    if (read !== undefined && Value.Check(schema, read)) return read;
    return this.#notAllowed(node, leaf);
  }

  #object(schema: TSchema, node: ConfigNode, owner: string): unknown {
    const { ignores = [], open } = keywordsOf(schema);
    const map = this.#asMap(node, keywordsOf(schema).allowed ?? 'a mapping of keys to values');
    if (map === undefined) return wrong;
    const properties = (schema as unknown as { properties: Record<string, TSchema> }).properties;
    for (const [key, value] of map.entries) {
      if (Object.hasOwn(properties, key)) continue;
      if (open !== undefined && key.startsWith(open)) continue;
      if (ignores.includes(key) || (map.path === '' && this.#isIgnored(key))) this.#onIgnored(value);
      else this.#unknownKey(map, key, value, Object.keys(properties));
    }
    return Object.fromEntries(
      Object.entries(properties).flatMap(([key, property]) => {
        const value = this.#property(property, key, map, owner);
        return value === undefined ? [] : [[key, value]];
      }),
    );
  }

  #property(schema: TSchema, key: string, map: MapNode, owner: string): unknown {
    const node = map.entries.get(key);
    const leaf = leafOf(schema);
    // `KEY: ""` is how templates leave a text out.
    const blank = isNothing(node) ? leaf?.null === undefined : leaf?.reads === 'text' && isEmptyText(node);
    if (node !== undefined && !blank) {
      if (keywordsOf(schema).effect === 'none') this.#onIgnored(node);
      return this.check(schema, node);
    }
    if (leaf?.default !== undefined) return defaultOf(leaf);
    if (leaf?.null !== undefined) return null;
    if (Type.IsOptional(schema)) return undefined;
    const nothing = { ...map, entries: new Map(), path: childPath(map.path, key) };
    if (Type.IsObject(schema)) return this.#object(schema, nothing, owner);
    if (Type.IsArray(schema)) return [];
    if (Type.IsLiteral(schema)) return schema.const;
    const path = childPath(map.path, key);
    const { allowed = 'text', description = '' } = leaf ?? keywordsOf(schema);
    const what = `${path} is ${node === undefined ? 'missing' : 'empty'}${owner === '' ? '' : ` in ${owner}`}`;
    this.#faults.add({
      code: 'missing-key',
      path,
      origin: node?.origin ?? map.origin,
      message:
        allowed === 'text' ? `${what}. It is needed: ${description}` : `${what}; it must be ${allowed}.`,
      allowed,
    });
    return wrong;
  }

  #record(schema: TSchema, node: ConfigNode): unknown {
    const map = this.#asMap(node, 'a mapping of names to values');
    if (map === undefined) return wrong;
    const [item] = Object.values(
      (schema as unknown as { patternProperties: Record<string, TSchema> }).patternProperties,
    );
    if (item === undefined) return {};
    return Object.fromEntries([...map.entries].map(([key, value]) => [key, this.check(item, value)]));
  }

  #list(schema: TSchema, node: ConfigNode): unknown {
    const { items: item, uniqueItems } = schema as unknown as { items: TSchema; uniqueItems?: boolean };
    const leaf = leafOf(item);
    const allowed =
      leaf === undefined
        ? 'a list'
        : leaf.allowed === 'text'
          ? 'a list of texts'
          : `a list, each item ${leaf.allowed}`;
    const given = leaf === undefined ? node : this.#joined(node, leaf);
    if (given.kind !== 'list') return this.#wrongType(given, allowed);
    const seen = new Set<unknown>();
    return given.items.map((each) => {
      const value = this.check(item, each);
      if (uniqueItems === true && seen.has(value) && value !== wrong)
        this.#fault(
          'duplicate',
          each,
          `${each.path} is ${shown(each, leaf)}, which stands in the list already.`,
        );
      seen.add(value);
      return value;
    });
  }

  #pair([first, second]: TSchema[], node: ConfigNode): unknown {
    // The union that this is a member of has looked at the shape.
    if (first === undefined || second === undefined || node.kind !== 'list') return wrong;
    const [, settings] = node.items;
    const nothing: MapNode = {
      kind: 'map',
      path: childPath(node.path, 1),
      origin: node.origin,
      entries: new Map(),
    };
    return [
      (first as unknown as { const: unknown }).const,
      this.check(second, isNothing(settings) ? nothing : settings),
    ];
  }

  #union(
    members: readonly TSchema[],
    { chosenBy = '', allowed = 'a value' }: Keywords,
    node: ConfigNode,
  ): unknown {
    const variants = members.map((member) => keywordsOf(member).variant ?? '');
    const choose = (choice: ConfigNode | undefined, name: string): TSchema | undefined => {
      const path = choice?.path ?? name;
      const oneOf = `one of ${variants.join(', ')}`;
      if (choice === undefined || isNothing(choice)) {
        this.#fault('missing-key', choice ?? node, `${path} is missing; it must be ${oneOf}.`, {
          allowed: oneOf,
        });
        return undefined;
      }
      const index = choice.kind === 'scalar' ? variants.indexOf(choice.text) : -1;
      if (index < 0) this.#notOneOf(choice, variants, oneOf);
      return members[index];
    };
    if (chosenBy === 'first') {
      if (node.kind !== 'list' || node.items.length > 2 || node.items.length === 0)
        return this.#wrongType(node, allowed);
      const member = choose(node.items[0], childPath(node.path, 0));
      return member === undefined ? wrong : this.check(member, node);
    }
    if (node.kind !== 'map') return this.#wrongType(node, allowed);
    if (chosenBy === 'prefix') return this.#byPrefix(members, variants, node, allowed);
    const choice = node.entries.get(chosenBy);
    const member = choose(choice, childPath(node.path, chosenBy));
    if (member === undefined || choice?.kind !== 'scalar') return wrong;
    const name = node.entries.get('NAME');
    const title = name?.kind === 'scalar' && name.text !== '' ? name.text : choice.text;
    return this.#object(member, node, `${chosenBy.toLowerCase()} "${title}" (${choice.text})`);
  }

  #byPrefix(
    members: readonly TSchema[],
    variants: readonly string[],
    node: MapNode,
    allowed: string,
  ): unknown {
    const keys = [...node.entries.keys()].filter((key) => !/_?prefix$/i.test(key));
    for (const [key, value] of node.entries)
      if (!keys.includes(key))
        this.#fault(
          'unknown-key',
          value,
          `${value.path} is not a key: write the prefix as ORCHESTRATOR_PREFIX beside ORCHESTRATOR.`,
          { nearest: 'ORCHESTRATOR_PREFIX' },
        );
    const [first] = keys;
    if (first === undefined) {
      this.#fault('missing-key', node, `${node.path} is empty; it must be ${allowed}.`, { allowed });
      return wrong;
    }
    const known = members.flatMap((member) =>
      Object.keys((member as unknown as { properties: Record<string, unknown> }).properties),
    );
    const backend = first.split('_')[0] ?? first;
    const index = variants.indexOf(backend);
    const member = members[index];
    if (member === undefined) {
      const like = nearest(first, known);
      this.#fault(
        'not-allowed',
        node.entries.get(first) ?? node,
        `${childPath(node.path, first)} names the backend "${backend}", which does not exist; it must be ${allowed}.${like === undefined ? '' : ` Did you mean ${like}?`}`,
        { allowed, ...(like === undefined ? {} : { nearest: like }) },
      );
      return wrong;
    }
    return this.#object(
      member,
      { ...node, entries: new Map([...node.entries].filter(([key]) => keys.includes(key))) },
      '',
    );
  }

  /** In a variable, simple values may be joined by commas; a secret may have one in it. */
  #joined(node: ConfigNode, leaf: LeafKeywords): ConfigNode {
    if (node.kind !== 'scalar' || node.origin.kind !== 'environment') return node;
    const { path, origin, text } = node;
    const items = (leaf.secret === undefined ? text.split(',') : [text]).map((item) => item.trim());
    return {
      kind: 'list',
      path,
      origin,
      items: items
        .filter((item) => item !== '')
        .map((item, index) => ({
          kind: 'scalar',
          path: childPath(path, index),
          origin,
          value: item,
          text: item,
        })),
    };
  }

  #asMap(node: ConfigNode, allowed: string): MapNode | undefined {
    if (node.kind === 'map') return node;
    this.#wrongType(node, allowed);
    return undefined;
  }

  #wrongType(node: ConfigNode, allowed: string): typeof wrong {
    const is =
      node.kind === 'map'
        ? 'a mapping'
        : node.kind === 'list'
          ? `a list of ${node.items.length}`
          : 'a single value';
    this.#fault('wrong-type', node, `${node.path} is ${is}; it must be ${allowed}.`, { allowed });
    return wrong;
  }

  #notAllowed(node: ScalarNode, leaf: LeafKeywords): typeof wrong {
    if (leaf.choices !== undefined) return this.#notOneOf(node, leaf.choices, leaf.allowed);
    const value = shown(node, leaf);
    this.#fault('not-allowed', node, `${node.path} is ${value}; it must be ${leaf.allowed}.`, {
      value,
      allowed: leaf.allowed,
    });
    return wrong;
  }

  #notOneOf(node: ConfigNode, choices: readonly string[], allowed: string): typeof wrong {
    if (node.kind !== 'scalar') return this.#wrongType(node, allowed);
    const like = nearest(node.text, choices);
    const value = shown(node, undefined);
    this.#fault(
      'not-allowed',
      node,
      `${node.path} is ${value}; it must be ${allowed}.${like === undefined ? '' : ` Did you mean ${like}?`}`,
      { value, allowed, ...(like === undefined ? {} : { nearest: like }) },
    );
    return wrong;
  }

  #unknownKey(map: MapNode, key: string, value: ConfigNode, known: readonly string[]): void {
    const elsewhere = this.#places.get(key) ?? [];
    const like = elsewhere.length > 0 ? undefined : nearest(key, known);
    this.#fault(
      'unknown-key',
      value,
      `${value.path} is not a known key${elsewhere.length > 0 ? ' here' : ''}.${unknownKeyHint(map, known, like, elsewhere)}`,
      like === undefined ? {} : { nearest: like },
    );
  }

  #fault(
    code: ConfigFaultCode,
    { path, origin }: Pick<ConfigNode, 'path' | 'origin'>,
    message: string,
    more: { value?: string; allowed?: string; nearest?: string } = {},
  ): void {
    this.#faults.add({ code, path, origin, message, ...more });
  }
}

function isEmptyText(node: ConfigNode): boolean {
  return node.kind === 'scalar' && node.text === '';
}
