import { isNamespace } from '../model/repository-name.ts';

/**
 * A robot is `namespace+short`. The short name has the grammar of a namespace (2 to 255 of `[a-z0-9]`, joined by `.`,
 * `_` or `-`), which takes every name that Quay's interface does. No user name has a `+`, so a robot is told from a
 * user by its name alone.
 */
export interface RobotName {
  readonly namespace: string;
  readonly short: string;
}

export function isRobotName(text: string): boolean {
  return parseRobotName(text) !== undefined;
}

export function parseRobotName(text: string): RobotName | undefined {
  const plus = text.indexOf('+');
  if (plus < 0) return undefined;
  const name = { namespace: text.slice(0, plus), short: text.slice(plus + 1) };
  return isNamespace(name.namespace) && isNamespace(name.short) ? name : undefined;
}

export function formatRobotName({ namespace, short }: RobotName): string {
  return `${namespace}+${short}`;
}
