import type { ApiClient, Call } from './api-client.ts';
import type { Event, Job, List, Metadata, Pod } from './objects.ts';

export interface OwnedMetadata extends Metadata {
  readonly ownerReferences?: readonly { readonly uid: string }[];
}

/** The calls that workers need, in the namespace they run in. Each is one call of the Kubernetes API. */
export class BuilderApi {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly #jobs: string;
  readonly #core: string;

  constructor(client: ApiClient, namespace: string) {
    this.client = client;
    this.namespace = namespace;
    const inside = `namespaces/${encodeURIComponent(namespace)}`;
    this.#jobs = `/apis/batch/v1/${inside}/jobs`;
    this.#core = `/api/v1/${inside}`;
  }

  /** Asks for nothing that needs a right. */
  version(signal: AbortSignal): Promise<unknown> {
    return this.#json({ method: 'GET', path: '/version', verb: 'get', resource: 'version' }, signal);
  }

  /** Whether the account that asks has a right in the namespace. `resource` may have a subresource behind a slash. */
  async may(
    { group, resource, verb }: { readonly group: string; readonly resource: string; readonly verb: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    const [name, subresource] = resource.split('/');
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: {
        resourceAttributes: {
          namespace: this.namespace,
          group,
          verb,
          resource: name,
          ...(subresource === undefined ? {} : { subresource }),
        },
      },
    };
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const review = await this.#json<{ readonly status?: { readonly allowed?: boolean } }>(
      { method: 'POST', path, body, verb: 'create', resource: 'selfsubjectaccessreviews' },
      signal,
    );
    return review.status?.allowed === true;
  }

  /** Everything that creating a Job takes, but there is none afterwards. */
  tryJob(job: object, signal: AbortSignal): Promise<unknown> {
    return this.#json(
      { method: 'POST', path: `${this.#jobs}?dryRun=All`, body: job, verb: 'create', resource: 'jobs' },
      signal,
    );
  }

  createJob(job: object, signal: AbortSignal): Promise<Job> {
    return this.#json(
      { method: 'POST', path: this.#jobs, body: job, verb: 'create', resource: 'jobs' },
      signal,
    );
  }

  job(name: string, signal: AbortSignal): Promise<Job> {
    return this.#json(
      { method: 'GET', path: `${this.#jobs}/${name}`, verb: 'get', resource: 'jobs' },
      signal,
    );
  }

  /** Its pods are made from now on. */
  resumeJob(name: string, signal: AbortSignal): Promise<Job> {
    const body = { spec: { suspend: false } };
    return this.#json(
      { method: 'PATCH', path: `${this.#jobs}/${name}`, body, verb: 'patch', resource: 'jobs' },
      signal,
    );
  }

  /** The Job is gone with the answer; its pods and its Secret follow. */
  deleteJob(name: string, signal: AbortSignal): Promise<unknown> {
    const body = { propagationPolicy: 'Background' };
    return this.#json(
      { method: 'DELETE', path: `${this.#jobs}/${name}`, body, verb: 'delete', resource: 'jobs' },
      signal,
    );
  }

  jobs(selector: string, signal: AbortSignal): Promise<List<Job>> {
    const path = `${this.#jobs}?labelSelector=${encodeURIComponent(selector)}`;
    return this.#json({ method: 'GET', path, verb: 'list', resource: 'jobs' }, signal);
  }

  createSecret(secret: object, signal: AbortSignal): Promise<unknown> {
    return this.#json(
      { method: 'POST', path: `${this.#core}/secrets`, body: secret, verb: 'create', resource: 'secrets' },
      signal,
    );
  }

  secret(name: string, signal: AbortSignal): Promise<{ readonly metadata: OwnedMetadata }> {
    return this.#json(
      { method: 'GET', path: `${this.#core}/secrets/${name}`, verb: 'get', resource: 'secrets' },
      signal,
    );
  }

  pods(selector: string, signal: AbortSignal): Promise<List<Pod>> {
    const path = `${this.#core}/pods?labelSelector=${encodeURIComponent(selector)}`;
    return this.#json({ method: 'GET', path, verb: 'list', resource: 'pods' }, signal);
  }

  deletePod(name: string, signal: AbortSignal): Promise<unknown> {
    return this.#json(
      { method: 'DELETE', path: `${this.#core}/pods/${name}`, verb: 'delete', resource: 'pods' },
      signal,
    );
  }

  /** A line for each change of a pod, for at most `seconds`. */
  watchPods(
    selector: string,
    { resourceVersion, seconds }: { readonly resourceVersion: string; readonly seconds: number },
    signal: AbortSignal,
  ): AsyncGenerator<string> {
    const query = new URLSearchParams({
      labelSelector: selector,
      watch: 'true',
      resourceVersion,
      timeoutSeconds: String(seconds),
    });
    return this.client.lines(
      { method: 'GET', path: `${this.#core}/pods?${query}`, verb: 'watch', resource: 'pods' },
      signal,
    );
  }

  podLog(pod: string, query: string, signal: AbortSignal): Promise<string> {
    const path = `${this.#core}/pods/${pod}/log?${query}`;
    return this.client.text({ method: 'GET', path, verb: 'get', resource: 'pods/log' }, signal);
  }

  events(selector: string, signal: AbortSignal): Promise<List<Event>> {
    const path = `${this.#core}/events?limit=500&fieldSelector=${encodeURIComponent(selector)}`;
    return this.#json({ method: 'GET', path, verb: 'list', resource: 'events' }, signal);
  }

  #json<T>(call: Call, signal: AbortSignal): Promise<T> {
    return this.client.json<T>(call, signal);
  }
}
