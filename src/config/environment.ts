import { messageOf } from '../base/coded-error.ts';
import type { FaultList } from './config-fault.ts';
import { type ConfigNode, childPath, isNothing, type MapNode, type Origin } from './config-node.ts';
import { nearest } from './nearest.ts';
import type { SchemaKeys } from './schema-keys.ts';
import { readYamlValue } from './yaml-file.ts';

/**
 * The environment over the file. `SLIPWAY_KEY` sets a key of the top level; two underscores lead into it, a number into
 * a list: `SLIPWAY_BUILD_MANAGER__ORCHESTRATOR__REDIS_PASSWORD` (a pair such as BUILD_MANAGER needs no number),
 * `SLIPWAY_BUILD_MANAGER__EXECUTORS__0__NAME`. Keys of the block SLIPWAY begin with two: `SLIPWAY__LISTEN__PORT`. A secret may
 * be in a file that `…_FILE` names. Of a list of secrets a variable without a number is the only one. An empty variable is the same as none.
 */
export interface EnvironmentOverlay {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  readonly keys: SchemaKeys;
  readonly topLevel: readonly string[];
  readonly isIgnored: (key: string) => boolean;
  /** Further keys of the top level, whose names are the administrator's choice. */
  readonly isFurther: (key: string) => boolean;
  readonly faults: FaultList;
}

const prefix = 'SLIPWAY_';

/** Variables of the program itself: of its client, its workers and its tests. */
const programVariables =
  /^SLIPWAY_(ATTEMPT|CLEAN_POLICY|CONFIG|DATA|PROFILE|SERVER|STATE_DIR|TEST_[A-Z0-9_]+|TOKEN|WORKSPACE)$/;

/** What Kubernetes tells every pod about a service whose name begins with `slipway`. */
const serviceLink =
  /^SLIPWAY(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

export function overlayEnvironment(file: MapNode, overlay: EnvironmentOverlay): MapNode {
  let tree = file;
  const setBy = new Map<string, string>();
  /** A secret, a list of secrets, or one of such a list. */
  const isSecret = (path: readonly string[]) => {
    const name = path.findLast((key) => !/^\d{1,4}$/.test(key));
    return name !== undefined && overlay.keys.secret.has(name);
  };
  const names = Object.keys(overlay.environment).filter((name) => name.startsWith(prefix));
  for (const name of names.sort()) {
    const given = overlay.environment[name];
    if (given === undefined || given === '' || programVariables.test(name)) continue;
    const path = pathOf(name);
    const [top = ''] = path;
    if (overlay.isIgnored(top)) continue;
    const known = [top, withoutFile(top)].some((key) => overlay.topLevel.includes(key));
    if (!known && !overlay.isFurther(top)) {
      if (!serviceLink.test(name)) unknownVariable(name, top, overlay);
      continue;
    }
    const last = path.at(-1) ?? '';
    const inFile =
      last.endsWith('_FILE') &&
      !overlay.keys.known.has(last) &&
      isSecret([...path.slice(0, -1), withoutFile(last)]);
    const text = inFile ? contentOf(name, given, overlay) : given;
    if (text === undefined) continue;
    if (inFile) path.splice(-1, 1, withoutFile(last));
    const origin: Origin = { kind: 'environment', variable: name };
    const key = path.join('__');
    const other = setBy.get(key);
    if (other !== undefined) {
      overlay.faults.add({
        code: 'contradiction',
        path: path.join('.'),
        origin,
        message: `${other} and ${name} set the same key; keep one of them.`,
      });
      continue;
    }
    setBy.set(key, name);
    const changed = put(tree, path, textOrBlock(text, origin, !isSecret(path)), '');
    if (changed?.kind === 'map') tree = changed;
    else
      overlay.faults.add({
        code: 'unknown-key',
        path: path.join('.'),
        origin,
        message: `${name} leads nowhere: ${path.join(' → ')} is not a place in the configuration.`,
      });
  }
  return tree;
}

function pathOf(name: string): string[] {
  if (name.startsWith(`${prefix}_`)) return ['SLIPWAY', ...name.slice(prefix.length + 1).split('__')];
  return name.slice(prefix.length).split('__');
}

function withoutFile(key: string): string {
  return key.endsWith('_FILE') ? key.slice(0, -'_FILE'.length) : key;
}

function contentOf(name: string, file: string, { readFile, faults }: EnvironmentOverlay): string | undefined {
  try {
    return readFile(file).replace(/\r?\n$/, '');
  } catch (error) {
    faults.add({
      code: 'unreadable',
      path: name,
      origin: { kind: 'environment', variable: name },
      message: `${name} names the file ${JSON.stringify(file)}, which cannot be read: ${messageOf(error)}.`,
      value: file,
    });
    return undefined;
  }
}

function unknownVariable(name: string, top: string, { topLevel, faults }: EnvironmentOverlay): void {
  const like = nearest(top, topLevel);
  const suggestion = like === undefined ? undefined : like === 'SLIPWAY' ? 'SLIPWAY__…' : `${prefix}${like}`;
  faults.add({
    code: 'unknown-key',
    path: name,
    origin: { kind: 'environment', variable: name },
    message: `${name} sets no known key.${suggestion === undefined ? '' : ` Did you mean ${suggestion}?`}`,
    ...(suggestion === undefined ? {} : { nearest: suggestion }),
  });
}

/** What stands at the end of a path, once it is known under which path. */
interface Given {
  readonly origin: Origin;
  readonly at: (path: string) => ConfigNode;
}

/** A whole block may be written as YAML in brackets or braces; a secret may begin with any character. */
function textOrBlock(text: string, origin: Origin, mayBeBlock: boolean): Given {
  const at = (path: string): ConfigNode => ({ kind: 'scalar', path, origin, value: text, text });
  if (!mayBeBlock || !/^\s*[[{]/.test(text)) return { origin, at };
  return { origin, at: (path) => readYamlValue(text, path, origin) ?? at(path) };
}

/** The tree with one value put in. Undefined: the path does not fit what is there. */
function put(
  at: ConfigNode | undefined,
  keys: readonly string[],
  given: Given,
  path: string,
): ConfigNode | undefined {
  const [key, ...rest] = keys;
  if (key === undefined) return given.at(path);
  if (key === '') return undefined;
  const node = isNothing(at) ? blank(path, key, given.origin) : at;
  if (node.kind === 'scalar') return undefined;
  if (node.kind === 'map') {
    const child = put(node.entries.get(key), rest, given, childPath(path, key));
    return child === undefined ? undefined : { ...node, entries: new Map([...node.entries, [key, child]]) };
  }
  // The settings of a pair are its second item; nobody has to count.
  const pair = node.items.length > 0 && node.items.length <= 2 && node.items[0]?.kind === 'scalar';
  const index = /^\d{1,4}$/.test(key) ? Number(key) : pair ? 1 : undefined;
  if (index === undefined || index > node.items.length) return undefined;
  const further = /^\d{1,4}$/.test(key) ? rest : keys;
  const child = put(node.items[index], further, given, childPath(path, index));
  return child === undefined
    ? undefined
    : { ...node, items: [...node.items.slice(0, index), child, ...node.items.slice(index + 1)] };
}

function blank(path: string, key: string, origin: Origin): ConfigNode {
  if (path === 'BUILD_MANAGER') {
    const lifecycle = 'ephemeral';
    const first: ConfigNode = {
      kind: 'scalar',
      path: childPath(path, 0),
      origin,
      value: lifecycle,
      text: lifecycle,
    };
    return { kind: 'list', path, origin, items: [first] };
  }
  if (/^\d+$/.test(key)) return { kind: 'list', path, origin, items: [] };
  return { kind: 'map', path, origin, entries: new Map() };
}
