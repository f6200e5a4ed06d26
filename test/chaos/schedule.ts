import { type ClockJumps, clockOffset, withThreeHours } from './clock-jumps.ts';
import { Random } from './random.ts';

export interface ChaosSize {
  /** How long faults are made. */
  readonly minutes: number;
  readonly builds: number;
  readonly managers: number;
  readonly hosts: number;
  readonly jumps: ClockJumps;
}

export type Target = { readonly kind: 'manager' | 'host'; readonly index: number };

/** The ways that can be disturbed; one to each manager from its database and its Redis, one for all workers. */
export type Way =
  | { readonly kind: 'postgres' | 'redis'; readonly manager: number }
  | { readonly kind: 'workers' };

/** Times are milliseconds; `for` is how long it lasts. */
export type Fault =
  | { readonly kind: 'kill'; readonly target: Target; readonly for: number }
  | { readonly kind: 'freeze'; readonly target: Target; readonly for: number }
  | { readonly kind: 'retire'; readonly manager: number; readonly for: number }
  | { readonly kind: 'postgres'; readonly how: 'fast' | 'immediate'; readonly for: number }
  | { readonly kind: 'redis'; readonly for: number }
  | { readonly kind: 'flush' }
  | { readonly kind: 'cut' | 'stall'; readonly way: Way; readonly for: number }
  | { readonly kind: 'slow'; readonly way: Way; readonly delay: number; readonly for: number }
  | { readonly kind: 'reset'; readonly way: Way; readonly share: number }
  | { readonly kind: 'clock'; readonly manager: number; readonly offset: number; readonly for: number };

export type TimedFault = Fault & { readonly at: number };

/** How a build ends when nothing disturbs it. */
export type BuildNature = 'complete' | 'error' | 'infrastructure' | 'unpushed';

export interface PlannedBuild {
  readonly index: number;
  readonly at: number;
  readonly namespace: string;
  readonly repository: string;
  readonly tags: readonly string[];
  readonly nature: BuildNature;
  /** Numbered lines of log while it builds. */
  readonly lines: number;
  readonly sleep: number;
  readonly pushSleep: number;
  /** It has a secret, and prints it. */
  readonly secret?: string;
  readonly cancelAfter?: number;
  /**
   * Builds of the same thing, of which only the newest is wanted: the index of the first of them. They have its repository,
   * tags, nature and faults.
   */
  readonly line?: number;
}

/** The number by which `natureOf` and `attemptFaultsOf` know a build. */
export function numberOf({ index, line }: PlannedBuild): number {
  return line ?? index;
}

/** What goes wrong with one attempt, beside what the schedule does to everybody. */
export interface AttemptFaults {
  /** The executor, when it is asked to start the worker for the first time. */
  readonly start:
    | { readonly kind: 'fine' }
    | { readonly kind: 'fails'; readonly code: 'start-failed' | 'at-capacity' | 'unavailable' }
    /** The worker runs at once. */
    | { readonly kind: 'answers-late'; readonly after: number }
    /** The worker runs, and the executor says that it could not be started. */
    | { readonly kind: 'answer-lost' }
    /** It is asked twice at the same time. */
    | { readonly kind: 'twice' };
  readonly worker:
    | { readonly kind: 'fine' }
    | { readonly kind: 'never-registers' }
    | { readonly kind: 'begins-late'; readonly after: number }
    | { readonly kind: 'dies'; readonly after: number };
  /**
   * Everything is said twice: the registration and each report at the same time, each heartbeat and each batch of the
   * log in a row, on the same stream or each on one of its own.
   */
  readonly duplicates: 'none' | 'same-stream' | 'other-stream';
  /**
   * What carries the attempt out: the agent in the host's process or in one of its own, or a worker that knows only
   * the shared part of the protocol (it has to push, so builds that do not push get the agent).
   */
  readonly body: 'agent' | 'process' | 'reference';
  /** Happens to a process of its own. */
  readonly process:
    | { readonly kind: 'fine' }
    | { readonly kind: 'killed'; readonly after: number }
    | { readonly kind: 'frozen'; readonly after: number; readonly for: number };
  /** After its end the worker's last words are said again, and new ones added, after so long. */
  readonly lateReports?: number;
}

export interface Schedule {
  readonly seed: number;
  readonly size: ChaosSize;
  readonly duration: number;
  readonly faults: readonly TimedFault[];
  readonly builds: readonly PlannedBuild[];
}

/** The same seed and size make the same schedule. */
export function scheduleOf(seed: number, size: ChaosSize): Schedule {
  const random = new Random(`slipway chaos ${seed}`);
  const duration = Math.round(size.minutes * 60_000);
  return {
    seed,
    size,
    duration,
    faults: faultsOf(random.of('faults'), duration, size),
    builds: planBuilds(random.of('builds'), duration, size.builds),
  };
}

const meanGap = 2_000;
/** Everything runs for a moment before it is disturbed. */
const quiet = 3_000;

function faultsOf(random: Random, duration: number, size: ChaosSize): readonly TimedFault[] {
  const faults = planFaults(random, duration, size);
  return size.jumps === 'large' ? withThreeHours(faults) : faults;
}

function planFaults(random: Random, duration: number, size: ChaosSize): TimedFault[] {
  const faults: TimedFault[] = [];
  const busyUntil = new Map<string, number>();
  for (let at = quiet + random.gap(meanGap); at < duration; at += random.gap(meanGap)) {
    const fault = { ...draw(random, size), at: Math.round(at) };
    // One thing at a time happens to one process or way; what is drawn for a busy one is not done.
    const key = subjectOf(fault);
    if ((busyUntil.get(key) ?? 0) > at) continue;
    busyUntil.set(key, at + ('for' in fault ? fault.for : 0) + 1_000);
    faults.push(fault);
  }
  return faults;
}

function draw(random: Random, { managers, hosts, jumps }: ChaosSize): Fault {
  const manager = random.whole(0, managers - 1);
  const target = random.weighted<Target>([
    [2, { kind: 'manager', index: manager }],
    [1, { kind: 'host', index: random.whole(0, hosts - 1) }],
  ]);
  const way = random.weighted<Way>([
    [2, { kind: 'postgres', manager }],
    [1, { kind: 'redis', manager }],
    [2, { kind: 'workers' }],
  ]);
  const makers: readonly (readonly [number, () => Fault])[] = [
    [4, () => ({ kind: 'kill', target, for: random.whole(200, 7_000) })],
    [4, () => ({ kind: 'freeze', target, for: random.whole(500, 12_000) })],
    [1, () => ({ kind: 'retire', manager, for: random.whole(200, 3_000) })],
    [
      1,
      () => ({
        kind: 'postgres',
        how: random.chance(0.5) ? 'fast' : 'immediate',
        for: random.whole(0, 3_000),
      }),
    ],
    [1, () => ({ kind: 'redis', for: random.whole(0, 4_000) })],
    [1, () => ({ kind: 'flush' })],
    [2, () => ({ kind: 'cut', way, for: random.whole(500, 6_000) })],
    [2, () => ({ kind: 'stall', way, for: random.whole(500, 8_000) })],
    [2, () => ({ kind: 'slow', way, delay: random.whole(5, 250), for: random.whole(1_000, 8_000) })],
    [3, () => ({ kind: 'reset', way, share: random.chance(0.5) ? 1 : 0.4 })],
    [
      2,
      () => ({
        kind: 'clock',
        manager,
        offset: clockOffset(random, jumps),
        for: random.whole(1_000, 15_000),
      }),
    ],
  ];
  return random.weighted(makers)();
}

function subjectOf(fault: Fault): string {
  switch (fault.kind) {
    case 'kill':
    case 'freeze':
      return `${fault.target.kind} ${fault.target.index}`;
    case 'retire':
      return `manager ${fault.manager}`;
    case 'postgres':
      return 'postgres';
    case 'redis':
    case 'flush':
      return 'redis';
    case 'clock':
      return `clock ${fault.manager}`;
    case 'cut':
    case 'stall':
    case 'slow':
    case 'reset':
      return 'manager' in fault.way ? `way ${fault.way.kind} ${fault.way.manager}` : 'way workers';
  }
}

const namespaces = 6;
const repositoriesEach = 12;

function planBuilds(random: Random, duration: number, count: number): PlannedBuild[] {
  const arrivals = random.of('arrivals');
  const times = Array.from({ length: count }, () => Math.round(arrivals.next() * duration * 0.85));
  times.sort((a, b) => a - b);
  return inLines(
    random.of('lines'),
    times.map((at, index) => planBuild(random.of(index), index, at)),
  );
}

/** Makes builds that come one after the other ask for the same thing, so that those which wait are superseded. */
function inLines(random: Random, builds: readonly PlannedBuild[]): PlannedBuild[] {
  const planned: PlannedBuild[] = [];
  let first: PlannedBuild | undefined;
  let left = 0;
  for (const build of builds) {
    const own = random.of(build.index);
    if (left === 0) {
      first = own.chance(0.02) ? withoutCancel({ ...build, line: build.index }) : undefined;
      left = first === undefined ? 0 : own.whole(2, 6);
      planned.push(first ?? build);
    } else if (first !== undefined) {
      const { namespace, repository, tags, nature, index: line } = first;
      planned.push(withoutCancel({ ...build, namespace, repository, tags, nature, line }));
      left -= 1;
    }
  }
  return planned;
}

function withoutCancel({ cancelAfter: _, ...build }: PlannedBuild): PlannedBuild {
  return build;
}

function planBuild(random: Random, index: number, at: number): PlannedBuild {
  const nature = random.weighted<BuildNature>([
    [84, 'complete'],
    [8, 'error'],
    [3, 'infrastructure'],
    [5, 'unpushed'],
  ]);
  const first = `b${index}`;
  return {
    index,
    at,
    namespace: `team${random.whole(1, namespaces)}`,
    repository: `app${random.whole(1, repositoriesEach)}`,
    // No build but those of its line has these tags: whatever they ever stood for was put there for them.
    tags: random.chance(0.2) ? [first, `${first}-too`] : [first],
    nature,
    lines: random.whole(1, 80),
    sleep: random.weighted([
      [3, random.whole(0, 400)],
      [4, random.whole(400, 2_500)],
      [1, random.whole(2_500, 9_000)],
    ]),
    pushSleep: random.chance(0.3) ? random.whole(50, 1_500) : 0,
    ...(random.chance(0.2) ? { secret: `secret-${random.of('secret').whole(1e11, 9e11)}-${index}` } : {}),
    ...(random.chance(0.1) ? { cancelAfter: random.whole(0, 6_000) } : {}),
  };
}

/** What `scheduleOf` plans for the build of this number, whatever the sizes. */
export function natureOf(seed: number, build: number): BuildNature {
  return planBuild(new Random(`slipway chaos ${seed}`).of('builds').of(build), build, 0).nature;
}

/** What goes wrong with the attempt of one epoch of one build. */
export function attemptFaultsOf(seed: number, build: number, epoch: number): AttemptFaults {
  const random = new Random(`slipway chaos ${seed}`).of('attempts').of(build).of(epoch);
  const start = random.weighted<AttemptFaults['start']>([
    [80, { kind: 'fine' }],
    [
      6,
      {
        kind: 'fails',
        code: random.weighted<'start-failed' | 'at-capacity' | 'unavailable'>([
          [2, 'start-failed'],
          [2, 'at-capacity'],
          [1, 'unavailable'],
        ]),
      },
    ],
    [5, { kind: 'answers-late', after: random.whole(500, 12_000) }],
    [4, { kind: 'answer-lost' }],
    [5, { kind: 'twice' }],
  ]);
  const worker = random.weighted<AttemptFaults['worker']>([
    [88, { kind: 'fine' }],
    [2, { kind: 'never-registers' }],
    [5, { kind: 'begins-late', after: random.whole(500, 5_000) }],
    [5, { kind: 'dies', after: random.whole(50, 3_000) }],
  ]);
  const twice = random.chance(0.2);
  const late = random.chance(0.25) ? { lateReports: random.whole(100, 15_000) } : {};
  return {
    start,
    worker,
    duplicates: twice ? (random.of('stream').chance(0.5) ? 'same-stream' : 'other-stream') : 'none',
    ...bodyOf(random.of('body')),
    ...late,
  };
}

function bodyOf(random: Random): Pick<AttemptFaults, 'body' | 'process'> {
  const body = random.weighted<AttemptFaults['body']>([
    [68, 'agent'],
    [20, 'reference'],
    [12, 'process'],
  ]);
  if (body !== 'process') return { body, process: { kind: 'fine' } };
  const process = random.weighted<AttemptFaults['process']>([
    [60, { kind: 'fine' }],
    [15, { kind: 'killed', after: random.whole(300, 4_000) }],
    [25, { kind: 'frozen', after: random.whole(300, 4_000), for: random.whole(500, 40_000) }],
  ]);
  return { body, process };
}

/** For a person, and for the report of a run that failed. */
export function describeFault(fault: TimedFault): string {
  const { at, kind, ...rest } = fault;
  return `${(at / 1000).toFixed(1).padStart(7)} s  ${kind.padEnd(8)} ${JSON.stringify(rest)}`;
}
