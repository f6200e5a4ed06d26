/** Where one object is, or why it is not to be had. */
export type LfsObject =
  | {
      readonly oid: string;
      readonly href: string;
      readonly headers: Readonly<Record<string, string>>;
      /** The request needs no more than `headers`. */
      readonly authenticated: boolean;
    }
  | { readonly oid: string; readonly error: string };

/** What an SSH server says of where its LFS server is. */
export interface LfsServer {
  /** Undefined: at the usual place. */
  readonly href?: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads the answer of the batch API; undefined when it is none. */
export function parseBatch(text: string): readonly LfsObject[] | undefined {
  const answer = recordOf(parsed(text));
  if (!Array.isArray(answer?.objects)) return undefined;
  if (answer.transfer !== undefined && answer.transfer !== 'basic') return undefined;
  return answer.objects.flatMap((each: unknown): LfsObject[] => {
    const object = recordOf(each);
    if (typeof object?.oid !== 'string') return [];
    const { oid } = object;
    const error = recordOf(object.error);
    if (error !== undefined) return [{ oid, error: shown(error.message) }];
    const download = recordOf(recordOf(object.actions)?.download);
    if (typeof download?.href !== 'string') return [{ oid, error: 'the server does not say where it is' }];
    const authenticated = object.authenticated === true;
    return [{ oid, href: download.href, headers: headersOf(download.header), authenticated }];
  });
}

/** Reads the answer of `git-lfs-authenticate`; undefined when it is none. */
export function parseLfsServer(text: string): LfsServer | undefined {
  const answer = recordOf(parsed(text));
  if (answer === undefined) return undefined;
  const { href } = answer;
  return {
    ...(typeof href === 'string' && href !== '' ? { href } : {}),
    headers: headersOf(answer.header),
  };
}

/** What a server says of an error, where it is short and readable. */
export function messageIn(text: string): string {
  return shown(recordOf(parsed(text))?.message);
}

/** Those that belong to the connection stay ours. */
const ours = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'accept-encoding']);

function headersOf(given: unknown): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(recordOf(given) ?? {})) {
    const plain = /^[A-Za-z0-9-]{1,100}$/.test(name) && typeof value === 'string' && value.length <= 8192;
    if (plain && /^[\x20-\x7e]*$/.test(value) && !ours.has(name.toLowerCase()))
      headers[name.toLowerCase()] = value;
  }
  return headers;
}

function shown(message: unknown): string {
  const text = typeof message === 'string' ? message.replace(/[^\x20-\x7e]/g, ' ').trim() : '';
  return text === '' ? 'no reason given' : text.slice(0, 200);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}
