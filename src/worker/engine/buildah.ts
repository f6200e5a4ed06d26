import { statfsSync } from 'node:fs';
import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackOffOptions, backOff } from '../../base/back-off.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { parseDigest } from '../../model/digest.ts';
import { cleanHome } from './buildah-clean.ts';
import {
  type BuildahCommand,
  buildCommand,
  type CommandSettings,
  pushCommand,
  scratchFiles,
} from './buildah-command.ts';
import { explainFailure, pushMayRecover } from './buildah-failure.ts';
import { type BuildahHome, buildahHome, prepareHome } from './buildah-home.ts';
import { inspectMachine, type MachineFindings } from './buildah-probe.ts';
import { checkSecrets, fileFailure, labelled, readScratch, writeScratch } from './buildah-scratch.ts';
import { type Ending, runConfined } from './confinement.ts';
import { readDockerfile } from './dockerfile-check.ts';
import type {
  BuiltImage,
  CleanPolicy,
  CleanReport,
  Engine,
  EngineBuild,
  EngineEvents,
  EnginePhase,
  EngineReport,
  PushedImage,
  PushTarget,
} from './engine.ts';
import { cancelled, EngineError, throwIfCancelled } from './engine-error.ts';
import { unwritten, writtenOrAborted } from './log-write.ts';
import { type LineTest, OutputTail } from './output-tail.ts';
import { readPushedManifest } from './pushed-manifest.ts';

export interface BuildahOptions {
  /** The folder this account keeps for buildah; made when missing. Its parent exists. */
  readonly home: string;
  /** PATH to find programs in. */
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
  readonly clock: Clock;
  /** Default `auto`. */
  readonly isolation?: 'auto' | 'namespaces' | 'chroot';
  /** Stages built at once; default 2. */
  readonly jobs?: number;
  /** Proxies and certificates for buildah itself; never for what users choose. */
  readonly extraEnv?: Readonly<Record<string, string>>;
  readonly pushBackOff?: BackOffOptions;
  /** Default 6. */
  readonly pushTries?: number;
}

interface Prepared {
  readonly machine: MachineFindings;
  readonly report: EngineReport;
}

/** Drives buildah's command line, one process a build and one a push, each confined (see confinement.ts). */
export class BuildahEngine implements Engine {
  readonly name = 'buildah';
  readonly #options: BuildahOptions;
  readonly #home: BuildahHome;
  readonly #settings: CommandSettings;
  #prepared: Promise<Prepared> | undefined;

  constructor(options: BuildahOptions) {
    this.#options = options;
    this.#home = buildahHome(options.home);
    const { path, uid, gid, extraEnv = {} } = options;
    this.#settings = { home: this.#home, path, uid, gid, extraEnv };
  }

  async probe(signal: AbortSignal): Promise<EngineReport> {
    return (await this.#prepare(signal)).report;
  }

  async build(request: EngineBuild, events: EngineEvents, signal: AbortSignal): Promise<BuiltImage> {
    const { machine, report } = await this.#prepare(signal);
    checkSecrets(request);
    const title = `${report.name} ${report.version}`;
    const facts = await readDockerfile(request.dockerfile, { title, features: report.features });
    await writeScratch(
      request.scratchDir,
      request.pullCredentials,
      request.insecureRegistries,
      request.registryAuthorities,
    );

    const phases = new Phases(events, ['pulling', 'building']);
    await phases.reach('pulling');
    const images = new Set<string>();
    let building = false;
    const tail = new OutputTail((line) => {
      // The first step after a FROM: the base images it needs are there.
      building ||= /^(?:\[\d+\/\d+\] )?STEP (?!1\/)\d+\/\d+: /.test(line);
      const image = /^--> Using cache ([0-9a-f]{64})$/.exec(line)?.[1];
      if (image !== undefined && images.size < 10_000) images.add(image);
    }, isEnginesOwn);
    const command = buildCommand(await labelled(request, facts), {
      ...this.#settings,
      isolation: machine.isolation,
      jobs: this.#options.jobs ?? 2,
    });
    const { ending, leastFree } = await this.#run(
      machine,
      command,
      request.contextDir,
      tail,
      signal,
      async (bytes) => {
        if (building) await phases.reach('building');
        await events.write(bytes);
      },
    );
    if (!succeeded(ending)) {
      await this.#markUsed(images);
      throw explain('build', ending, tail, leastFree);
    }
    await phases.reach('building');

    const imageId = parseDigest((await readScratch(scratchFiles(request.scratchDir).idFile)).trim());
    if (imageId === undefined)
      throw new EngineError('enginefailed', 'buildah ended well but named no image.');
    images.add(imageId.slice('sha256:'.length));
    await this.#markUsed(images);
    return { imageId };
  }

  async push(
    image: BuiltImage,
    target: PushTarget,
    events: EngineEvents,
    signal: AbortSignal,
  ): Promise<PushedImage> {
    const { machine } = await this.#prepare(signal);
    const { credentials, insecure, registry } = target;
    await writeScratch(
      target.scratchDir,
      credentials === undefined ? [] : [credentials],
      insecure ? [registry] : [],
    );
    await new Phases(events, ['pushing']).reach('pushing');
    const { pushTries = 6, pushBackOff = { first: 2000, cap: 20_000 }, clock } = this.#options;
    for (let tries = 1; ; tries += 1) {
      const outcome = await this.#pushOnce(machine, image, target, events, signal);
      if ('pushed' in outcome) return outcome.pushed;
      throwIfCancelled(signal);
      if (!outcome.mayRecover || tries >= pushTries) {
        if (tries === 1 || outcome.error.code !== 'pushissue') throw outcome.error;
        throw new EngineError('pushissue', `${outcome.error.message} (tried ${tries} times)`, outcome.error);
      }
      const wait = backOff(tries - 1, pushBackOff);
      const note = `The push to ${registry} failed; trying again in ${(wait / 1000).toFixed(1)} s (${tries} of ${pushTries}).\n`;
      await writtenOrAborted(events.write(Buffer.from(note)), signal).catch((thrown: unknown) => {
        throw unwritten(thrown);
      });
      await clock.sleep(wait, signal).catch(() => {
        throw cancelled(signal);
      });
    }
  }

  async clean(policy: CleanPolicy, signal: AbortSignal): Promise<CleanReport> {
    const { machine } = await this.#prepare(signal);
    try {
      return await cleanHome({ ...this.#settings, proc: machine.proc }, policy, this.#options.clock, signal);
    } catch (thrown) {
      throw thrown instanceof EngineError ? thrown : fileFailure(thrown);
    }
  }

  async #pushOnce(
    machine: MachineFindings,
    image: BuiltImage,
    target: PushTarget,
    events: EngineEvents,
    signal: AbortSignal,
  ): Promise<{ pushed: PushedImage } | { error: EngineError; mayRecover: boolean }> {
    const tail = new OutputTail();
    const command = pushCommand(image.imageId.slice('sha256:'.length), target, this.#settings);
    const write = (bytes: Buffer) => events.write(bytes);
    const { ending, leastFree } = await this.#run(machine, command, target.scratchDir, tail, signal, write);
    const destination = `${target.registry}/${target.repository}`;
    if (!succeeded(ending)) {
      const error = explain('push', ending, tail, leastFree, destination);
      return { error, mayRecover: error.code === 'pushissue' && pushMayRecover(tail.lines()) };
    }
    const digest = parseDigest((await readScratch(scratchFiles(target.scratchDir).digestFile)).trim());
    if (digest === undefined) throw new EngineError('enginefailed', 'buildah pushed but named no digest.');
    try {
      return { pushed: await readPushedManifest(digest, target, signal) };
    } catch (thrown) {
      throwIfCancelled(signal);
      const message = `The image was pushed to ${destination}, but cannot be read back: ${messageOf(thrown)}`;
      return { error: new EngineError('pushissue', message, thrown), mayRecover: true };
    }
  }

  async #run(
    { proc }: MachineFindings,
    { argv, env }: BuildahCommand,
    cwd: string,
    tail: OutputTail,
    signal: AbortSignal,
    write: (bytes: Buffer) => Promise<void>,
  ): Promise<{ ending: Ending; leastFree: number }> {
    let leastFree = Number.POSITIVE_INFINITY;
    const ending = await runConfined(
      { argv, env, cwd, sharedLock: this.#home.lock, proc },
      async (bytes) => {
        // Now, when a step has just complained: afterwards buildah removes what the step had filled the disk with.
        leastFree = Math.min(leastFree, freeBytes(this.#home.storage));
        tail.add(bytes);
        await write(bytes);
      },
      signal,
    );
    return { ending, leastFree };
  }

  /** The order in which images are cleaned follows these times, so a failure to write them is no failure. */
  async #markUsed(images: ReadonlySet<string>): Promise<void> {
    const now = new Date(this.#options.clock.now());
    await Promise.allSettled(
      [...images].map(async (image) => {
        const path = join(this.#home.used, image);
        await writeFile(path, '', { flag: 'a' });
        await utimes(path, now, now);
      }),
    );
  }

  /** Once in the engine's life; a failure is not kept, so that what was missing can be installed meanwhile. */
  async #prepare(signal: AbortSignal): Promise<Prepared> {
    throwIfCancelled(signal);
    this.#prepared ??= this.#prepareNow(signal).catch((thrown) => {
      this.#prepared = undefined;
      throw thrown instanceof EngineError ? thrown : fileFailure(thrown);
    });
    return await this.#prepared;
  }

  async #prepareNow(signal: AbortSignal): Promise<Prepared> {
    const { path, uid, isolation = 'auto' } = this.#options;
    let version: string | undefined;
    const machine = await inspectMachine({
      path,
      uid,
      isolation,
      onDisk: join(this.#home.root, '..'),
      mountsProc: async () => {
        version = await this.#version('own', signal);
        return version !== undefined;
      },
    });
    await prepareHome(this.#home, machine);
    version ??= (await this.#version('outer', signal)) ?? '';
    const [major = 0, minor = 0] = version.split('.').map(Number);
    const report: EngineReport = {
      name: 'buildah',
      version,
      isolation: machine.isolation,
      storageDriver: machine.storageDriver,
      rootless: true,
      warnings: machine.warnings,
      features: { heredoc: major > 1 || (major === 1 && minor >= 33) },
    };
    return { machine, report };
  }

  /**
   * Asked inside the namespaces, so that it also shows whether this account may make them. Undefined when they cannot have
   * a /proc of their own.
   */
  async #version(proc: 'own' | 'outer', signal: AbortSignal): Promise<string | undefined> {
    const tail = new OutputTail();
    const env = { PATH: this.#options.path, HOME: this.#home.root };
    const ending = await runConfined(
      { argv: ['buildah', '--version'], env, cwd: '/', proc },
      async (bytes) => tail.add(bytes),
      signal,
    );
    if (proc === 'own' && tail.lines().some((line) => /^unshare: mount \/proc failed: /.test(line)))
      return undefined;
    if (!succeeded(ending)) throw explain('build', ending, tail, Number.POSITIVE_INFINITY);
    const version = /version (\d+\.\d+\.\d+)/.exec(tail.lines().join('\n'))?.[1];
    if (version === undefined) {
      throw new EngineError(
        'enginemissing',
        'The program named buildah does not tell its version. Install buildah ≥ 1.28.',
      );
    }
    return version;
  }
}

/** Lines that buildah may have written itself: `STEP …`, `[1/2] STEP …`, `--> …`. A step may write such lines too. */
const isEnginesOwn: LineTest = (bytes, start) => {
  const second = bytes[start + 1] ?? 0;
  switch (bytes[start]) {
    case 0x53:
      return second === 0x54;
    case 0x5b:
      return second >= 0x30 && second <= 0x39;
    case 0x2d:
      return second === 0x2d;
    default:
      return false;
  }
};

/** Reports each phase once and in order, whoever notices it. */
class Phases {
  readonly #events: EngineEvents;
  readonly #coming: EnginePhase[];

  constructor(events: EngineEvents, phases: readonly EnginePhase[]) {
    this.#events = events;
    this.#coming = [...phases];
  }

  async reach(phase: EnginePhase): Promise<void> {
    while (this.#coming.includes(phase)) {
      const next = this.#coming.shift();
      if (next === undefined) continue;
      await this.#events.phase?.(next).catch((thrown: unknown) => {
        throw unwritten(thrown);
      });
    }
  }
}

function succeeded(ending: Ending): boolean {
  return 'status' in ending && ending.status === 0;
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

function explain(
  operation: 'build' | 'push',
  ending: Ending,
  tail: OutputTail,
  leastFree: number,
  destination?: string,
): EngineError {
  return explainFailure({
    operation,
    status: 'status' in ending ? ending.status : undefined,
    lines: tail.lines(),
    freeBytes: leastFree,
    ...(destination === undefined ? {} : { destination }),
  });
}
