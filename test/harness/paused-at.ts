/**
 * `target`, whose process is stopped (SIGSTOP) at a call of `method` and goes on when `pause` resolves: before the call, or
 * after it, when nobody has looked at its answer yet.
 */
export function pausedAt<T extends object>(
  target: T,
  method: keyof T,
  when: 'before' | 'after',
  pause: (...given: readonly unknown[]) => Promise<void>,
): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      if (name !== method) return value.bind(target);
      return async (...given: readonly unknown[]) => {
        if (when === 'before') await pause(...given);
        const answer: unknown = await value.apply(target, given);
        if (when === 'after') await pause(...given);
        return answer;
      };
    },
  });
}
