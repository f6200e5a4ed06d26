import type { BuilderApi } from './builder-api.ts';
import { isFinished, type Job, jobOf, type Pod } from './objects.ts';

/** What is in the namespace, of one executor, at one time. */
export interface Listing {
  /** Of the look its Jobs come from; what was made after that look began is perhaps not in it. */
  readonly look: number;
  /** By name. */
  readonly jobs: ReadonlyMap<string, Job>;
  /** By the name of their Job. */
  readonly pods: ReadonlyMap<string, Pod>;
  /** Why there is no pod, by the name of the Job. */
  readonly refusals: ReadonlyMap<string, string>;
  /** From where a watch of the pods goes on. */
  readonly resourceVersion: string;
}

const refusalsEvery = 2;
const glancesInARow = 4;

/**
 * Looks at all workers of an executor at once: a list of their pods and one of the Jobs, however many there are, and
 * now and then one of events while a Job gets no pod. A glance leaves the Jobs out as long as each has a pod that stays:
 * then they have nothing to say. Whoever asks while a look is under way waits for the next one, together with all others
 * who ask.
 */
export class Looks {
  readonly #api: BuilderApi;
  readonly #selector: string;
  #begun = 0;
  #latest: Listing | undefined;
  #current: Promise<unknown> = Promise.resolve();
  #next: Promise<Listing> | undefined;
  #nextIsGlance = true;
  #glances = 0;
  #podless = new Set<string>();

  constructor(api: BuilderApi, selector: string) {
    this.#api = api;
    this.#selector = selector;
  }

  /** How many looks have begun: what is made now is in every later one. */
  get begun(): number {
    return this.#begun;
  }

  get latest(): Listing | undefined {
    return this.#latest;
  }

  /** A listing that shows everything that is so now; a glance, the pods at least. */
  look(signal: AbortSignal, how: 'look' | 'glance' = 'look'): Promise<Listing> {
    if (how === 'look') this.#nextIsGlance = false;
    this.#next ??= this.#current.then(() => {
      this.#next = undefined;
      const look = this.#look(signal, this.#nextIsGlance);
      this.#nextIsGlance = true;
      this.#current = look.catch(() => {});
      return look;
    });
    return this.#next;
  }

  async #look(signal: AbortSignal, glance: boolean): Promise<Listing> {
    this.#begun += 1;
    const look = this.#begun;
    // Pods first: one that is there has its Job in the later list, or it has none any more.
    const podList = await this.#api.pods(this.#selector, signal);
    const pods = new Map<string, Pod>();
    for (const pod of podList.items) {
      const job = jobOf(pod);
      if (job !== undefined) pods.set(job, pod);
    }
    const resourceVersion = podList.metadata?.resourceVersion ?? '';
    if (
      glance &&
      this.#latest !== undefined &&
      this.#glances < glancesInARow &&
      suffices(this.#latest.jobs, pods)
    ) {
      this.#glances += 1;
      this.#latest = { ...this.#latest, pods, refusals: new Map(), resourceVersion };
      return this.#latest;
    }
    this.#glances = 0;
    const jobList = await this.#api.jobs(this.#selector, signal);
    const jobs = new Map(jobList.items.map((job) => [job.metadata.name, job]));
    const refusals = await this.#refusals(jobs, pods, look, signal);
    this.#latest = { look, jobs, pods, refusals, resourceVersion };
    return this.#latest;
  }

  async #refusals(
    jobs: ReadonlyMap<string, Job>,
    pods: ReadonlyMap<string, Pod>,
    look: number,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    const podless = [...jobs.values()].filter(
      (job) => !isFinished(job) && job.spec?.suspend !== true && !pods.has(job.metadata.name),
    );
    const before = this.#podless;
    this.#podless = new Set(podless.map(({ metadata }) => metadata.uid));
    if (!podless.some(({ metadata }) => before.has(metadata.uid))) return new Map();
    if (look % refusalsEvery !== 0) return this.#latest?.refusals ?? new Map();
    const selector = 'involvedObject.kind=Job,reason=FailedCreate';
    const { items } = await this.#api.events(selector, signal).catch(() => ({ items: [] }));
    const refusals = new Map<string, string>();
    for (const { involvedObject, message = '' } of items)
      if (involvedObject?.uid !== undefined && this.#podless.has(involvedObject.uid))
        refusals.set(involvedObject.name ?? '', message);
    return refusals;
  }
}

/** Whether the pods alone say how all workers are. */
function suffices(jobs: ReadonlyMap<string, Job>, pods: ReadonlyMap<string, Pod>): boolean {
  for (const [name, job] of jobs) {
    const pod = pods.get(name);
    if (!isFinished(job) && (pod === undefined || pod.metadata.deletionTimestamp !== undefined)) return false;
  }
  for (const name of pods.keys()) if (!jobs.has(name)) return false;
  return true;
}
