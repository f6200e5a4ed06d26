import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { text } from 'node:stream/consumers';
import { parseAllDocuments } from 'yaml';

/** What the API server hands out; tests look into it as they need. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly [field: string]: unknown;
  };
  // biome-ignore lint/suspicious/noExplicitAny: an object of any kind
  readonly [field: string]: any;
}

export type Identity = { readonly token: string } | { readonly certificate: string; readonly key: string };

/** The API server answered with something else than success. */
export class KubernetesAnswer extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(`${status} ${reason}: ${message}`);
    this.name = 'KubernetesAnswer';
    this.status = status;
    this.reason = reason;
  }
}

export interface WatchEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: KubernetesObject;
}

export interface ApiClientOptions {
  readonly url: string;
  /** PEM of the authority that the server's certificate is of. */
  readonly authority: string;
  /** Absent: nobody. */
  readonly identity?: Identity;
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface CallOptions {
  readonly body?: unknown;
  /** Of the body; for PATCH also what kind of patch it is. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

/** The tests' own way to the API server: paths in, JSON out. It shares nothing with the product's client. */
export class ApiClient implements Disposable {
  readonly #url: string;
  readonly #agent: Agent;
  readonly #token: string | undefined;
  readonly #plurals = new Map<string, { readonly plural: string; readonly namespaced: boolean }>();

  constructor({ url, authority, identity }: ApiClientOptions) {
    this.#url = url;
    const certificate =
      identity !== undefined && 'key' in identity ? { cert: identity.certificate, key: identity.key } : {};
    this.#agent = new Agent({ ca: authority, keepAlive: true, ...certificate });
    this.#token = identity !== undefined && 'token' in identity ? identity.token : undefined;
  }

  /** @throws KubernetesAnswer when the server says no; an error of the network as it is */
  async call(method: Method, path: string, options: CallOptions = {}): Promise<KubernetesObject> {
    return JSON.parse(await this.text(method, path, options)) as KubernetesObject;
  }

  async text(method: Method, path: string, options: CallOptions = {}): Promise<string> {
    const answer = await this.#open(method, path, options);
    const body = await text(answer);
    if (answer.statusCode !== undefined && answer.statusCode < 300) return body;
    throw refusal(answer.statusCode ?? 0, body);
  }

  async get(path: string): Promise<KubernetesObject> {
    return await this.call('GET', path);
  }

  /** Undefined: there is none. */
  async find(path: string): Promise<KubernetesObject | undefined> {
    return await this.get(path).catch((thrown: unknown) => {
      if (thrown instanceof KubernetesAnswer && thrown.status === 404) return undefined;
      throw thrown;
    });
  }

  async list(path: string): Promise<readonly KubernetesObject[]> {
    return (await this.get(path)).items as KubernetesObject[];
  }

  async create(path: string, body: object): Promise<KubernetesObject> {
    return await this.call('POST', path, { body });
  }

  async patch(
    path: string,
    body: object,
    kind: 'merge' | 'strategic-merge' = 'merge',
  ): Promise<KubernetesObject> {
    return await this.call('PATCH', path, { body, contentType: `application/${kind}-patch+json` });
  }

  async delete(path: string, options: object = {}): Promise<void> {
    await this.call('DELETE', path, { body: options });
  }

  /** Events until the server, the network or `signal` ends it; the loop around it is the caller's. */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const answer = await this.#open('GET', `${path}${path.includes('?') ? '&' : '?'}watch=true`, { signal });
    if (answer.statusCode !== 200) throw refusal(answer.statusCode ?? 0, await text(answer));
    try {
      let rest = '';
      for await (const piece of answer.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = (rest + piece).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) yield JSON.parse(line) as WatchEvent;
      }
    } finally {
      answer.destroy();
    }
  }

  /**
   * What `kubectl apply --server-side -f` does with the objects of a YAML text, in their order. The namespace is that of
   * the object, else the one given.
   */
  async apply(yaml: string, namespace = 'default'): Promise<readonly KubernetesObject[]> {
    const applied: KubernetesObject[] = [];
    for (const document of parseAllDocuments(yaml)) {
      if (document.errors[0] !== undefined) throw document.errors[0];
      const object = document.toJS() as KubernetesObject | null;
      if (object === null) continue;
      const path = await this.pathOf(object, namespace);
      applied.push(
        await this.call('PATCH', `${path}?fieldManager=slipway-test&force=true`, {
          body: object,
          contentType: 'application/apply-patch+yaml',
        }),
      );
    }
    return applied;
  }

  async pathOf(
    { apiVersion = '', kind = '', metadata }: KubernetesObject,
    namespace: string,
  ): Promise<string> {
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    let resource = this.#plurals.get(`${group} ${kind}`);
    if (resource === undefined) {
      const { resources } = await this.get(group);
      const found = (resources as { name: string; kind: string; namespaced: boolean }[]).find(
        (candidate) => candidate.kind === kind && !candidate.name.includes('/'),
      );
      if (found === undefined) throw new Error(`the API server knows no ${kind} of ${apiVersion}`);
      resource = { plural: found.name, namespaced: found.namespaced };
      this.#plurals.set(`${group} ${kind}`, resource);
    }
    const within = resource.namespaced ? `/namespaces/${metadata.namespace ?? namespace}` : '';
    return `${group}${within}/${resource.plural}/${metadata.name}`;
  }

  async #open(
    method: Method,
    path: string,
    { body, contentType, signal }: CallOptions,
  ): Promise<IncomingMessage> {
    const content = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    return await new Promise((resolve, reject) => {
      const outgoing = request(new URL(path, this.#url), {
        method,
        agent: this.#agent,
        ...(signal === undefined ? {} : { signal }),
        headers: {
          accept: 'application/json',
          // Node.js does not frame the body of a DELETE by itself.
          ...(content === undefined
            ? {}
            : {
                'content-type': contentType ?? 'application/json',
                'content-length': `${content.length}`,
              }),
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
        },
      });
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
      outgoing.end(content);
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

function refusal(status: number, body: string): KubernetesAnswer {
  try {
    const { reason = '', message = '' } = JSON.parse(body) as { reason?: string; message?: string };
    return new KubernetesAnswer(status, reason, message);
  } catch {
    return new KubernetesAnswer(status, '', body.slice(0, 500));
  }
}
