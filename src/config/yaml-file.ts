import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
  type YAMLError,
} from 'yaml';
import type { ConfigFault, FaultList } from './config-fault.ts';
import { type ConfigNode, childPath, type MapNode, type Origin } from './config-node.ts';

/** A configuration is a few hundred lines; what is far beyond that is a mistake or an attack. */
const maxBytes = 1024 * 1024;
const maxNodes = 20_000;
const maxDepth = 40;
const maxSyntaxFaults = 20;

/**
 * Reads a configuration file. YAML 1.1, as Quay reads it: `yes` and `on` are true, `<<` merges. Anchors and aliases work,
 * but not to blow a small file up into a big one. What is wrong goes into `faults`; undefined: nothing can be read at all.
 */
export function readYaml(bytes: Uint8Array, faults: FaultList): MapNode | undefined {
  const text = decode(bytes, faults);
  if (text === undefined) return undefined;
  const lines = new LineCounter();
  const document = parse(text, lines, faults);
  if (document === undefined) return undefined;
  return new TreeReader(document, lines, faults).root();
}

/** A value of the environment that is meant to be a list or a mapping. Undefined: it is not YAML. */
export function readYamlValue(text: string, path: string, origin: Origin): ConfigNode | undefined {
  if (text.length > maxBytes) return undefined;
  const document = parseDocument(text, { version: '1.1', logLevel: 'silent' });
  if (document.errors.length > 0 || document.contents === null) return undefined;
  return new TreeReader(document, undefined, undefined, origin).value(document.contents, path);
}

function decode(bytes: Uint8Array, faults: FaultList): string | undefined {
  const refuse = (code: ConfigFault['code'], message: string) => {
    faults.add({ code, path: '', origin: undefined, message });
    return undefined;
  };
  if (bytes.length > maxBytes)
    return refuse('syntax', `The file has ${bytes.length} bytes; a configuration has at most ${maxBytes}.`);
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    return refuse('encoding', 'The file is UTF-16; save it as UTF-8.');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return refuse('encoding', `The file is not UTF-8 text (line ${badLine(bytes)}); save it as UTF-8.`);
  }
  const control = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.exec(text);
  if (control !== null) {
    const line = text.slice(0, control.index).split('\n').length;
    return refuse('encoding', `The file has a control character (line ${line}); remove it.`);
  }
  return text;
}

function badLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let line = 1;
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? undefined : end));
    } catch {
      return line;
    }
    if (end < 0) return line;
    start = end + 1;
    line += 1;
  }
}

function parse(text: string, lineCounter: LineCounter, faults: FaultList): Document | undefined {
  const document = parseDocument(text, { version: '1.1', lineCounter, logLevel: 'error' });
  for (const error of [...document.errors, ...document.warnings].slice(0, maxSyntaxFaults)) {
    const [start] = error.linePos ?? [];
    faults.add({
      code: error.code === 'DUPLICATE_KEY' ? 'duplicate' : 'syntax',
      path: '',
      origin: start === undefined ? undefined : { kind: 'file', line: start.line, column: start.col },
      message: syntaxMessage(error, text),
    });
  }
  // Warnings are tags and versions nobody knows: the rest can be looked at.
  return document.errors.some(({ code }) => code !== 'DUPLICATE_KEY') ? undefined : document;
}

/** YAML's own words quote the file, and with it perhaps a secret. */
const syntaxWords: Readonly<Record<string, string>> = {
  BAD_DQ_ESCAPE:
    'A backslash in double quotes begins no known sequence; write it twice, or use single quotes.',
  BAD_INDENT: 'The line is not indented as YAML wants it, or a bracket above it is not closed.',
  BAD_SCALAR_START: 'A value cannot begin with this character; put it in quotes.',
  BLOCK_AS_IMPLICIT_KEY: 'A second colon stands in this line; put a value that has a colon in quotes.',
  BLOCK_IN_FLOW: 'A list or mapping without brackets stands inside of brackets.',
  MISSING_CHAR: 'A quote, a bracket or a colon is missing here or above.',
  MULTILINE_IMPLICIT_KEY: 'A key goes over several lines; a colon or a quote is missing here or above.',
  MULTIPLE_DOCS: 'A second document begins here (`---`); a configuration is one document.',
  RESOURCE_EXHAUSTION: 'The file is nested too deeply.',
  TAB_AS_INDENT: 'The line is indented by a tab; YAML wants spaces.',
  TAG_RESOLVE_FAILED:
    'The value has a tag (`!…`) that is not known here; write it without, or in quotes if it begins with an exclamation mark.',
  UNEXPECTED_TOKEN: 'This does not belong here; look at the indentation of this line and of those above.',
};

function syntaxMessage(error: YAMLError, text: string): string {
  if (error.code === 'DUPLICATE_KEY') {
    const key = /^[^:\s]{1,80}/.exec(text.slice(error.pos[0]))?.[0] ?? '';
    return `The key ${key} stands twice in one mapping; keep one of them.`;
  }
  if (error.message.includes('call stack')) return 'The file is nested too deeply.';
  return syntaxWords[error.code] ?? `The line is not YAML (${error.code}).`;
}

class TooBig extends Error {}

class TreeReader {
  readonly #document: Document;
  readonly #lines: LineCounter | undefined;
  readonly #faults: FaultList | undefined;
  readonly #fixed: Origin | undefined;
  #nodes = 0;

  constructor(document: Document, lines?: LineCounter, faults?: FaultList, fixed?: Origin) {
    this.#document = document;
    this.#lines = lines;
    this.#faults = faults;
    this.#fixed = fixed;
  }

  root(): MapNode | undefined {
    const { contents } = this.#document;
    const tree = contents === null ? undefined : this.value(contents, '');
    if (tree?.kind === 'map') return tree;
    if (tree === undefined && contents !== null) return undefined;
    const nothing = tree === undefined || (tree.kind === 'scalar' && tree.value === null);
    this.#fault(
      nothing ? 'missing-key' : 'wrong-type',
      tree,
      nothing
        ? 'The file is empty; it needs at least SERVER_HOSTNAME and DB_URI.'
        : `The file is ${tree.kind === 'list' ? 'a list' : 'a single value'}; it must be a mapping of keys to values.`,
    );
    return undefined;
  }

  /** Undefined after a fault that makes the rest pointless. */
  value(yaml: unknown, path: string): ConfigNode | undefined {
    try {
      return this.#read(yaml, path, 0);
    } catch (error) {
      if (!(error instanceof TooBig)) throw error;
      this.#fault('syntax', undefined, error.message);
      return undefined;
    }
  }

  #read(yaml: unknown, path: string, depth: number): ConfigNode {
    this.#nodes += 1;
    if (this.#nodes > maxNodes)
      throw new TooBig(`The file stands for more than ${maxNodes} values once its aliases are followed.`);
    if (depth > maxDepth)
      throw new TooBig('The file is nested too deeply, or an alias stands inside of what it names.');
    const origin = this.#origin(yaml);
    if (isAlias(yaml)) {
      const target = yaml.resolve(this.#document);
      if (target !== undefined) return this.#read(target, path, depth + 1);
      this.#fault(
        'syntax',
        { path, origin },
        'An alias (`*…`) names an anchor that is not there; put a value that begins with * in quotes.',
      );
      return { kind: 'scalar', path, origin, value: null, text: '' };
    }
    if (isSeq(yaml))
      return {
        kind: 'list',
        path,
        origin,
        items: yaml.items.map((item, index) => this.#read(item, childPath(path, index), depth + 1)),
      };
    if (isMap(yaml)) return { kind: 'map', path, origin, entries: this.#entries(yaml.items, path, depth) };
    const value = isScalar(yaml) ? yaml.value : null;
    const text = typeof value === 'string' ? value : ((isScalar(yaml) ? yaml.source : undefined) ?? '');
    const plain =
      value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
    return { kind: 'scalar', path, origin, value: plain ? value : text, text };
  }

  #entries(items: readonly { key: unknown; value: unknown }[], path: string, depth: number) {
    const entries = new Map<string, ConfigNode>();
    const merged = new Map<string, ConfigNode>();
    for (const { key, value } of items) {
      if (isScalar(key) && typeof key.value === 'symbol') {
        const source = this.#read(value, path, depth + 1);
        for (const each of source.kind === 'list' ? source.items : [source])
          if (each.kind === 'map')
            for (const [name, node] of each.entries) if (!merged.has(name)) merged.set(name, node);
        continue;
      }
      const name = isScalar(key)
        ? typeof key.value === 'string'
          ? key.value
          : (key.source ?? String(key.value))
        : undefined;
      if (name === undefined) {
        const origin = this.#origin(key);
        this.#fault('syntax', { path, origin }, 'A list or mapping stands where a key must be.');
        continue;
      }
      const node = this.#read(value, childPath(path, name), depth + 1);
      // An empty value has no place of its own, and a block begins below its key.
      const inPlace = node.kind === 'scalar' && node.text !== '';
      entries.set(name, inPlace ? node : { ...node, origin: this.#origin(key) });
    }
    for (const [name, node] of merged) if (!entries.has(name)) entries.set(name, node);
    return entries;
  }

  #origin(yaml: unknown): Origin {
    if (this.#fixed !== undefined) return this.#fixed;
    const range = isScalar(yaml) || isSeq(yaml) || isMap(yaml) || isAlias(yaml) ? yaml.range : undefined;
    const { line, col } = this.#lines?.linePos(range?.[0] ?? 0) ?? { line: 1, col: 1 };
    return { kind: 'file', line, column: col };
  }

  #fault(code: ConfigFault['code'], at: { path: string; origin: Origin } | undefined, message: string): void {
    this.#faults?.add({ code, path: at?.path ?? '', origin: at?.origin, message });
  }
}
