import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ManualClock } from '../../base/clock.ts';
import { digestOf } from '../../model/digest.ts';
import type { Engine, EngineBuild, EngineEvents, PushTarget } from './engine.ts';
import { EngineError } from './engine-error.ts';

/** One engine under test, and how to make it do what every engine must be able to do. */
export interface EngineSubject {
  readonly engine: Engine;
  /** The engine's own clock. */
  readonly clock: ManualClock;
  /** `host:port` of a registry that takes anything without TLS. */
  readonly registry: string;
  /** `host:port` on which nothing listens. */
  readonly deadRegistry: string;
  /** An empty folder for this test. */
  readonly folder: string;
  /** Dockerfiles; the files they copy are put into the context by `furnish`. */
  readonly dockerfiles: {
    readonly good: string;
    /** A step that ends with status 3. */
    readonly failing: string;
    /** Some megabytes of output. */
    readonly chatty: string;
    /** Prints `started`, then never ends. */
    readonly endless: string;
  };
  furnish(contextDir: string): Promise<void>;
  /** What the engine has started and not ended: processes, mounts. */
  leftovers(): Promise<readonly string[]>;
}

/** What every engine must do, run against each of them. */
export function engineSuite(name: string, makeSubject: () => Promise<EngineSubject>): void {
  describe(`${name} as an engine`, () => {
    let subject: EngineSubject;
    const never = new AbortController().signal;

    beforeEach(async () => {
      subject = await makeSubject();
    });

    afterEach(async () => {
      expect(await subject.leftovers()).toEqual([]);
    });

    it('says what it is', async () => {
      const report = await subject.engine.probe(never);
      expect(report.name).toBe(subject.engine.name);
      expect(report.version).toMatch(/^\d+\.\d+\.\d+$/);
    });

    it('builds and pushes, and the registry serves the digest it reports', async () => {
      const request = await workspace(subject, subject.dockerfiles.good);
      const events = new Recorder();
      const image = await subject.engine.build(request, events, never);
      const pushed = await subject.engine.push(image, target(subject, request), events, never);
      expect(events.phases).toEqual(['pulling', 'building', 'pushing']);
      const { digest, manifest } = await served(
        subject.registry,
        'suite/app',
        pushed.digest,
        pushed.mediaType,
      );
      expect(digest).toBe(pushed.digest);
      expect(manifest.config.digest).toBe(image.imageId);
      expect(pushed.size).toBe(manifest.layers.reduce((sum, { size }) => sum + size, manifest.config.size));
    });

    it('gives the same image for the same request, and pushes it twice to one digest', async () => {
      const request = await workspace(subject, subject.dockerfiles.good);
      const first = await subject.engine.build(request, new Recorder(), never);
      const second = await subject.engine.build(request, new Recorder(), never);
      expect(second).toEqual(first);
      const push = () => subject.engine.push(first, target(subject, request), new Recorder(), never);
      expect(await push()).toEqual(await push());
    });

    it('fails a failing step as the user’s fault, with the exit status in the message', async () => {
      const request = await workspace(subject, subject.dockerfiles.failing);
      const error = await failure(subject.engine.build(request, new Recorder(), never));
      expect({ code: error.code, owner: error.owner }).toEqual({ code: 'builderror', owner: 'user' });
      expect(error.message).toContain('exit status 3');
    });

    it.each([
      ['empty', ''],
      ['without FROM', 'RUN true\n'],
      ['with an unknown instruction', 'FROM scratch\nFROBNICATE x\n'],
      ['in UTF-16', Buffer.from('\ufeffFROM scratch\n', 'utf16le')],
    ])('refuses a Dockerfile that is %s', async (_what, dockerfile) => {
      const request = await workspace(subject, dockerfile);
      const error = await failure(subject.engine.build(request, new Recorder(), never));
      expect(error.code).toBe('dockerfileissue');
    });

    it('writes one piece at a time and waits for each', async () => {
      const request = await workspace(subject, subject.dockerfiles.chatty);
      let open = 0;
      let most = 0;
      let bytes = 0;
      const write = async (piece: Buffer) => {
        open += 1;
        most = Math.max(most, open);
        await new Promise((resolve) => setImmediate(resolve));
        bytes += piece.length;
        open -= 1;
      };
      await subject.engine.build(request, { write }, never);
      expect(most).toBe(1);
      expect(bytes).toBeGreaterThan(4_000_000);
    });

    it('ends the build when its log cannot be written', async () => {
      const request = await workspace(subject, subject.dockerfiles.chatty);
      let pieces = 0;
      const write = async () => {
        pieces += 1;
        if (pieces > 5) throw new Error('no log');
      };
      const error = await failure(subject.engine.build(request, { write }, never));
      expect(error.code).toBe('enginefailed');
    });

    it('fails with its own error when a phase is not taken', async () => {
      const request = await workspace(subject, subject.dockerfiles.good);
      const phase = async () => {
        throw new Error('no phase');
      };
      const error = await failure(subject.engine.build(request, { write: async () => {}, phase }, never));
      expect(error.code).toBe('enginefailed');
    });

    it('ends what it started when it is cancelled', async () => {
      const request = await workspace(subject, subject.dockerfiles.endless);
      const cancel = new AbortController();
      const events = new Recorder((text) => {
        if (/^started/m.test(text)) cancel.abort();
      });
      const error = await failure(subject.engine.build(request, events, cancel.signal));
      expect(error.code).toBe('cancelled');
      expect(error.owner).toBeUndefined();
      expect(await subject.leftovers()).toEqual([]);
    });

    it('can be cancelled while the log is stuck', async () => {
      const request = await workspace(subject, subject.dockerfiles.chatty);
      const cancel = new AbortController();
      const write = async (piece: Buffer) => {
        if (piece.length < 4096) return;
        cancel.abort();
        await new Promise(() => {});
      };
      const error = await failure(subject.engine.build(request, { write }, cancel.signal));
      expect(error.code).toBe('cancelled');
    });

    it('starts nothing when it is cancelled already', async () => {
      const request = await workspace(subject, subject.dockerfiles.good);
      const events = new Recorder();
      const error = await failure(subject.engine.build(request, events, AbortSignal.abort()));
      expect(error.code).toBe('cancelled');
      expect(events.phases).toEqual([]);
    });

    it('names the registry when it cannot push to it', async () => {
      const request = await workspace(subject, subject.dockerfiles.good);
      const image = await subject.engine.build(request, new Recorder(), never);
      const dead = { ...target(subject, request), registry: subject.deadRegistry };
      const pushing = failure(subject.engine.push(image, dead, new Recorder(), never));
      const error = await withTimePassing(subject.clock, pushing);
      expect({ code: error.code, owner: error.owner }).toEqual({
        code: 'pushissue',
        owner: 'infrastructure',
      });
      expect(error.message).toContain(subject.deadRegistry);
    });
  });
}

/** Keeps what an engine says. */
export class Recorder implements EngineEvents {
  readonly phases: string[] = [];
  readonly #pieces: Buffer[] = [];
  readonly #onText: (text: string) => void;

  constructor(onText: (text: string) => void = () => {}) {
    this.#onText = onText;
  }

  async write(bytes: Buffer): Promise<void> {
    this.#pieces.push(bytes);
    this.#onText(this.text);
  }

  async phase(phase: string): Promise<void> {
    this.phases.push(phase);
  }

  get text(): string {
    return Buffer.concat(this.#pieces).toString();
  }
}

let workspaces = 0;

export async function workspace(
  subject: Pick<EngineSubject, 'folder' | 'furnish' | 'registry'>,
  dockerfile: string | Buffer,
): Promise<EngineBuild> {
  workspaces += 1;
  const contextDir = join(subject.folder, `context-${workspaces}`);
  await mkdir(contextDir, { recursive: true });
  await subject.furnish(contextDir);
  await writeFile(join(contextDir, 'Dockerfile'), dockerfile);
  return {
    contextDir,
    dockerfile: join(contextDir, 'Dockerfile'),
    scratchDir: await mkdtemp(join(subject.folder, 'scratch-')),
    buildArgs: new Map(),
    secrets: [],
    labels: new Map(),
    pullCredentials: [],
    insecureRegistries: [subject.registry],
  };
}

export function target(
  { registry }: Pick<EngineSubject, 'registry'>,
  { scratchDir }: EngineBuild,
  repository = 'suite/app',
): PushTarget {
  return { registry, repository, tag: 'slipway-suite', insecure: true, scratchDir };
}

export async function failure(promise: Promise<unknown>): Promise<EngineError> {
  const thrown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof EngineError)) throw new Error('no EngineError was thrown', { cause: thrown });
  return thrown;
}

/** Moves the clock whenever somebody sleeps on it, until the promise settles. */
export async function withTimePassing<T>(clock: ManualClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const done = promise.finally(() => {
    settled = true;
  });
  while (!settled) {
    if (clock.sleeping > 0) await clock.advance(60_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return await done;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
}

export interface ServedManifest {
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export async function served(
  registry: string,
  repository: string,
  reference: string,
  mediaType: string,
): Promise<{ digest: string; manifest: ServedManifest }> {
  const url = `http://${registry}/v2/${repository}/manifests/${reference}`;
  const bytes = Buffer.from(await (await fetch(url, { headers: { accept: mediaType } })).arrayBuffer());
  return { digest: digestOf(bytes), manifest: JSON.parse(bytes.toString()) };
}
