import type { FaultList } from './config-fault.ts';
import { type ConfigNode, childPath, isNothing, type MapNode } from './config-node.ts';

/**
 * The settings of the build manager, written out: without BUILD_MANAGER, or without executors in it, there is one local
 * executor; the old form of a single executor becomes a list.
 */
export function writeOutManager(root: MapNode, faults: FaultList): MapNode {
  const { path, origin } = root;
  const scalar = (text: string): ConfigNode => ({ kind: 'scalar', path, origin, value: text, text });
  const map = (entries: [string, ConfigNode][]): MapNode => ({
    kind: 'map',
    path: 'BUILD_MANAGER[1]',
    origin,
    entries: new Map(entries),
  });
  const given = root.entries.get('BUILD_MANAGER');
  const pair: ConfigNode = isNothing(given)
    ? { kind: 'list', path: 'BUILD_MANAGER', origin, items: [scalar('ephemeral'), map([])] }
    : given;
  const [lifecycle, settings] = pair.kind === 'list' ? pair.items : [];
  if (pair.kind !== 'list' || lifecycle?.kind !== 'scalar' || lifecycle.text !== 'ephemeral') return root;
  if (settings !== undefined && settings.kind !== 'map' && !isNothing(settings)) return root;
  const old = replaceOldForm(isNothing(settings) ? map([]) : settings, faults);
  const local = map([['EXECUTOR', scalar('local')]]);
  const items: ConfigNode = { kind: 'list', path: 'BUILD_MANAGER[1].EXECUTORS', origin, items: [local] };
  const entries = isNothing(old.entries.get('EXECUTORS'))
    ? new Map([...old.entries, ['EXECUTORS', items] as const])
    : old.entries;
  const written = { ...pair, items: [lifecycle, { ...old, entries }, ...pair.items.slice(2)] };
  return { ...root, entries: new Map([...root.entries, ['BUILD_MANAGER', written]]) };
}

/**
 * Quay's old form, EXECUTOR with EXECUTOR_CONFIG in the settings of the build manager, made the new one: a list EXECUTORS
 * of one. The parts keep the paths under which they were written.
 */
function replaceOldForm(settings: MapNode, faults: FaultList): MapNode {
  const { EXECUTOR: type, EXECUTOR_CONFIG: given } = Object.fromEntries(settings.entries);
  if (type === undefined && given === undefined) return settings;
  const rest = new Map(
    [...settings.entries].filter(([key]) => key !== 'EXECUTOR' && key !== 'EXECUTOR_CONFIG'),
  );
  const old = type ?? given ?? settings;
  if (rest.has('EXECUTORS')) {
    faults.add({
      code: 'contradiction',
      path: old.path,
      origin: old.origin,
      message: `${old.path} stands beside EXECUTORS; keep EXECUTORS and move its settings there.`,
    });
    return { ...settings, entries: rest };
  }
  if (type === undefined) {
    faults.add({
      code: 'missing-key',
      path: childPath(settings.path, 'EXECUTOR'),
      origin: old.origin,
      message: `${childPath(settings.path, 'EXECUTOR')} is missing beside EXECUTOR_CONFIG; it must be a type of executor.`,
    });
    return { ...settings, entries: rest };
  }
  if (given !== undefined && given.kind !== 'map' && !(given.kind === 'scalar' && given.value === null)) {
    faults.add({
      code: 'wrong-type',
      path: given.path,
      origin: given.origin,
      message: `${given.path} is ${given.kind === 'list' ? 'a list' : 'a single value'}; it must be a mapping of keys to values.`,
    });
    return { ...settings, entries: rest };
  }
  const entries = new Map([...(given?.kind === 'map' ? given.entries : []), ['EXECUTOR', type] as const]);
  const entry: MapNode = {
    kind: 'map',
    path: given?.path ?? childPath(settings.path, 'EXECUTOR_CONFIG'),
    origin: (given ?? type).origin,
    entries,
  };
  const list: ConfigNode = {
    kind: 'list',
    path: childPath(settings.path, 'EXECUTORS'),
    origin: type.origin,
    items: [entry],
  };
  return { ...settings, entries: new Map([...rest, ['EXECUTORS', list]]) };
}
