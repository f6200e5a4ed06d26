export type Role = 'read' | 'write' | 'admin';

const strength: Record<Role, number> = { read: 1, write: 2, admin: 3 };

export function parseRole(text: string | undefined): Role | undefined {
  return text === 'read' || text === 'write' || text === 'admin' ? text : undefined;
}

export function isAtLeast(role: Role | undefined, wanted: Role): boolean {
  return role !== undefined && strength[role] >= strength[wanted];
}

/** The weaker of two roles; undefined (none) is the weakest. */
export function weaker(a: Role | undefined, b: Role | undefined): Role | undefined {
  if (a === undefined || b === undefined) return undefined;
  return strength[a] <= strength[b] ? a : b;
}

export function stronger(a: Role | undefined, b: Role | undefined): Role | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return strength[a] >= strength[b] ? a : b;
}
