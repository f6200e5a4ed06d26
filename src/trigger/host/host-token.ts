import { HostError } from '../host-error.ts';

/** What a host gave for an account. Written as text it is an access token alone, or JSON when there is more to it. */
export interface HostToken {
  readonly access: string;
  /** Gets the next one. */
  readonly refresh?: string;
  /** Milliseconds since 1970; absent: it lasts until it is revoked. */
  readonly expiresAt?: number;
}

export function formatHostToken(token: HostToken): string {
  return token.refresh === undefined && token.expiresAt === undefined ? token.access : JSON.stringify(token);
}

/** Throws HostError `unauthorized` for what cannot be a token: it would not fit into a header. */
export function parseHostToken(text: string): HostToken {
  const token = text.startsWith('{') ? fromJson(text) : { access: text };
  if (token === undefined || !/^[\x21-\x7e]{1,4096}$/.test(token.access))
    throw new HostError('unauthorized', 'What is stored as a token is none. Connect the account again.');
  return token;
}

function fromJson(text: string): HostToken | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { access, refresh, expiresAt } = value as Readonly<Record<string, unknown>>;
  if (typeof access !== 'string') return undefined;
  return {
    access,
    ...(typeof refresh === 'string' ? { refresh } : {}),
    ...(typeof expiresAt === 'number' ? { expiresAt } : {}),
  };
}
