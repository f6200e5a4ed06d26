/** How TOLERATIONS and NODE_AFFINITY are written, as kubectl takes taints and label selectors. */
const name = '[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?';
const value = '[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?';
export const tolerationPattern = `^(${name})(?:=(${value})?)?(?::(NoSchedule|PreferNoSchedule|NoExecute))?$`;
export const requirementPattern = `^(?:(!?)(${name})|(${name}) (in|notin) \\((${value}(?:, ?${value})*)\\))$`;

/**
 * `KEY=VALUE:EFFECT` tolerates that taint; without a value any of the key, without an effect all of it. Throws TypeError for
 * what the pattern does not let in.
 */
export function tolerationOf(text: string): object {
  const [, key, given, effect] = new RegExp(tolerationPattern).exec(text) ?? [];
  if (key === undefined) throw new TypeError(`no toleration: ${text}`);
  const hasValue = text.slice(key.length).startsWith('=');
  return {
    key,
    ...(hasValue ? { operator: 'Equal', value: given ?? '' } : { operator: 'Exists' }),
    ...(effect === undefined ? {} : { effect }),
  };
}

/** `KEY in (A,B)`, `KEY notin (A,B)`, `KEY` (a node with that label) or `!KEY` (without). Throws TypeError likewise. */
export function requirementOf(text: string): object {
  const [, not, label, key, operator, values] = new RegExp(requirementPattern).exec(text) ?? [];
  if (label !== undefined) return { key: label, operator: not === '!' ? 'DoesNotExist' : 'Exists' };
  if (key === undefined || values === undefined) throw new TypeError(`no requirement of a node: ${text}`);
  return { key, operator: operator === 'in' ? 'In' : 'NotIn', values: values.split(/, ?/) };
}
