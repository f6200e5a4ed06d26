import type { HostHttp } from './host-http.ts';
import type { LivingToken } from './living-token.ts';

/**
 * Requests with a token. The token is put into the header here and nowhere else: what the clients' libraries do not have,
 * they cannot put into an error.
 */
export class AuthorizedHttp {
  readonly title: string;
  readonly #http: HostHttp;
  readonly #token: LivingToken;

  constructor(http: HostHttp, token: LivingToken) {
    this.title = http.title;
    this.#http = http;
    this.#token = token;
  }

  /**
   * A `fetch` for one call of a client: it ends with the signal. `secrets` are what the call sends in its body; a host
   * that repeats them, or the token, in an error is not quoted.
   */
  fetchFor(signal: AbortSignal, secrets: readonly string[] = []): typeof fetch {
    return async (input, init) => {
      const method = init?.method ?? 'GET';
      const { body } = init ?? {};
      const headers = Object.fromEntries(new Headers(init?.headers ?? {}));
      const send = (access: string) =>
        this.#http.send(
          input instanceof Request ? input.url : String(input),
          {
            method,
            headers: { ...headers, authorization: `Bearer ${access}` },
            ...(typeof body === 'string' ? { body } : {}),
          },
          signal,
        );
      const access = await this.#token.current(signal);
      const response = await send(access);
      if (response.status !== 401) return await withoutSecrets(response, [access, ...secrets]);
      const other = await this.#token.afterRefusal(access, signal);
      const last = other === undefined ? response : await send(other);
      return await withoutSecrets(last, [access, other ?? '', ...secrets]);
    };
  }
}

async function withoutSecrets(response: Response, secrets: readonly string[]): Promise<Response> {
  if (response.status < 400) return response;
  let text = await response.text();
  for (const secret of secrets) if (secret !== '') text = text.replaceAll(secret, '[secret]');
  return new Response(text, { status: response.status, headers: response.headers });
}
