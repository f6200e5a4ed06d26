/** Ends a `switch` over a union: the compiler refuses it while a case is missing, and it throws if one gets through. */
export function unreachable(value: never): never {
  throw new TypeError(`unreachable case: ${JSON.stringify(value)}`);
}
