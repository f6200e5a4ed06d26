import type { FastifyReply, FastifyRequest } from 'fastify';

/**
 * - session: whose browser it is. Lax, for who follows a link from elsewhere is signed in here all the same
 * - login: what was begun at a provider, who sends the browser back from another site
 * - form: that a form for signing in was shown to this browser
 */
export type BrowserCookie = 'session' | 'login' | 'form';

const suffix: Record<BrowserCookie, string> = { session: '', login: '-login', form: '-form' };
const sameSite: Record<BrowserCookie, 'Lax' | 'Strict'> = { session: 'Lax', login: 'Lax', form: 'Strict' };

/**
 * The cookies of this site. No script can read them. Where the site is reached by https only, their names begin with
 * `__Host-`, so that a browser takes them from this host by https alone, and no other host of the domain can set them.
 */
export class BrowserCookies {
  readonly #https: boolean;

  constructor({ https }: { readonly https: boolean }) {
    this.#https = https;
  }

  read(request: Pick<FastifyRequest, 'headers'>, cookie: BrowserCookie): string | undefined {
    const wanted = `${this.#name(cookie)}=`;
    const found = (request.headers.cookie ?? '')
      .split(';')
      .map((part) => part.trim())
      .find((part) => part.startsWith(wanted));
    return found?.slice(wanted.length);
  }

  /** `age` is milliseconds; undefined: as long as the browser runs. */
  set(reply: FastifyReply, cookie: BrowserCookie, value: string, age?: number): void {
    const parts = [
      `${this.#name(cookie)}=${value}`,
      'Path=/',
      'HttpOnly',
      `SameSite=${sameSite[cookie]}`,
      ...(this.#https ? ['Secure'] : []),
      ...(age === undefined ? [] : [`Max-Age=${Math.floor(age / 1000)}`]),
    ];
    reply.header('set-cookie', parts.join('; '));
  }

  clear(reply: FastifyReply, cookie: BrowserCookie): void {
    this.set(reply, cookie, '', 0);
  }

  #name(cookie: BrowserCookie): string {
    return `${this.#https ? '__Host-' : ''}slipway${suffix[cookie]}`;
  }
}
