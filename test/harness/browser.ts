interface Cookie {
  readonly value: string;
  readonly path: string;
}

export interface Visit {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** As much of a browser as signing in needs: cookies by origin and path, redirects, forms and where it is. */
export class Browser {
  readonly #jars = new Map<string, Map<string, Cookie>>();
  /** Every address it was led to. */
  readonly visited: string[] = [];

  /** Goes somewhere, and on to wherever it is led; `until` says where to stop before. */
  async go(
    address: string,
    {
      form,
      until = () => false,
    }: { form?: Readonly<Record<string, string>>; until?: (url: string) => boolean } = {},
  ): Promise<Visit> {
    let visit = await this.request(address, form === undefined ? {} : { form });
    for (let hops = 0; visit.status >= 300 && visit.status < 400; hops += 1) {
      if (hops > 20) throw new Error(`led around in a circle: ${visit.url}`);
      const next = new URL(visit.headers.get('location') ?? '', visit.url).href;
      if (until(next)) return { ...visit, url: next };
      visit = await this.request(next);
    }
    return visit;
  }

  /** One request, led nowhere. */
  async request(
    address: string,
    {
      method,
      form,
      json,
      headers = {},
    }: {
      method?: string;
      form?: Readonly<Record<string, string>>;
      json?: unknown;
      headers?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<Visit> {
    this.visited.push(address);
    const url = new URL(address);
    const body =
      form !== undefined ? new URLSearchParams(form) : json === undefined ? undefined : JSON.stringify(json);
    const response = await fetch(url, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      redirect: 'manual',
      headers: {
        cookie: this.#cookiesFor(url),
        ...(form === undefined ? {} : { origin: url.origin }),
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    });
    this.#take(url, response.headers.getSetCookie());
    return { url: url.href, status: response.status, headers: response.headers, text: await response.text() };
  }

  cookie(address: string, name: string): string | undefined {
    return this.#jars.get(new URL(address).origin)?.get(name)?.value;
  }

  setCookie(address: string, name: string, value: string): void {
    this.#jar(new URL(address)).set(name, { value, path: '/' });
  }

  #jar({ origin }: URL): Map<string, Cookie> {
    const jar = this.#jars.get(origin) ?? new Map<string, Cookie>();
    this.#jars.set(origin, jar);
    return jar;
  }

  #cookiesFor(url: URL): string {
    return [...this.#jar(url)]
      .filter(
        ([, { path }]) =>
          url.pathname === path || url.pathname.startsWith(path.replace(/\/?$/, '/')) || path === '/',
      )
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ');
  }

  #take(url: URL, lines: readonly string[]): void {
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
      const equals = pair.indexOf('=');
      const name = pair.slice(0, equals);
      const of = (key: string) =>
        attributes.find((each) => each.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
      const expires = of('expires');
      const gone = of('max-age') === '0' || (expires !== undefined && Date.parse(expires) <= Date.now());
      if (gone) this.#jar(url).delete(name);
      else this.#jar(url).set(name, { value: pair.slice(equals + 1), path: of('path') ?? '/' });
    }
  }
}

/** The value of a hidden field of a page. */
export function hiddenField(page: string, name: string): string {
  const found = new RegExp(`<input type="hidden" name="${name}" value="([^"]*)"`).exec(page)?.[1];
  if (found === undefined) throw new Error(`the page has no field ${name}`);
  return found;
}
