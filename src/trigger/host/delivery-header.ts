import type { HookDelivery } from '../git-host.ts';

/** A name that a host gave, if it is one: it becomes part of a key in the database. */
export function nameIn(delivery: HookDelivery, header: string): string | undefined {
  const name = delivery.headers[header];
  return name !== undefined && /^[\x21-\x7e]{1,200}$/.test(name) ? name : undefined;
}
