import type { PushTarget, RegistryCredentials } from './engine.ts';

/**
 * One request to the registry of a push target, its challenge answered (bearer tokens of the distribution project,
 * or Basic). An insecure registry is spoken to in clear text first, then by TLS. Throws an ordinary Error when there
 * is no answer; any answer, refusals included, is returned.
 */
export async function askRegistry(
  target: Pick<PushTarget, 'registry' | 'insecure' | 'credentials'>,
  /** Path and query, or the whole URL a Location header gave. */
  path: string,
  init: {
    readonly method?: string;
    readonly headers?: Record<string, string>;
    readonly body?: Uint8Array<ArrayBuffer>;
  },
  signal: AbortSignal,
): Promise<Response> {
  if (target.insecure) {
    const url = new URL(path, `http://${target.registry}`);
    const answer = await exchange(url, init, target.credentials, signal).catch((thrown: unknown) => {
      signal.throwIfAborted();
      if (thrown instanceof TypeError) return undefined;
      throw thrown;
    });
    if (answer !== undefined) return answer;
  }
  return await exchange(new URL(path, `https://${target.registry}`), init, target.credentials, signal);
}

const maximumBodyBytes = 4 * 1024 * 1024;

async function exchange(
  url: URL,
  init: Parameters<typeof askRegistry>[2],
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<Response> {
  const first = await fetch(url, { ...init, signal });
  if (first.status !== 401) return first;
  await first.body?.cancel();
  const authorization = await answerChallenge(
    first.headers.get('www-authenticate') ?? '',
    credentials,
    signal,
  );
  return await fetch(url, { ...init, headers: { ...init.headers, authorization }, signal });
}

/** RFC 6750 and the distribution project's token protocol, or plain Basic. */
async function answerChallenge(
  challenge: string,
  credentials: RegistryCredentials | undefined,
  signal: AbortSignal,
): Promise<string> {
  const basic =
    credentials === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  if (/^basic\b/i.test(challenge) && basic !== undefined) return basic;
  const realm = parameter(challenge, 'realm');
  if (!/^bearer\b/i.test(challenge) || realm === undefined) {
    throw new Error('the registry asks for credentials that it was not given');
  }
  const url = new URL(realm);
  for (const name of ['service', 'scope']) {
    const value = parameter(challenge, name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const response = await fetch(url, {
    signal,
    ...(basic === undefined ? {} : { headers: { authorization: basic } }),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the token service of the registry answered ${response.status}`);
  }
  const body: unknown = JSON.parse((await boundedBody(response)).toString('utf8'));
  const token = field(body, 'token') ?? field(body, 'access_token');
  if (typeof token !== 'string') throw new Error('the token service of the registry sent no token');
  return `Bearer ${token}`;
}

function parameter(challenge: string, name: string): string | undefined {
  return new RegExp(`[\\s,]${name}="([^"]*)"`, 'i').exec(challenge)?.[1];
}

/** The body of an answer that has no business to be large. */
export async function boundedBody(response: Response): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    parts.push(part);
    length += part.length;
    if (length > maximumBodyBytes)
      throw new Error('the registry sent more than 4 MiB where little was expected');
  }
  return Buffer.concat(parts);
}

/** A field of something that came as JSON. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
