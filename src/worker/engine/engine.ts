import type { Digest } from '../../model/digest.ts';

/**
 * Turns a workspace into an image and puts it into a registry. The worker calls, for one attempt: `probe`, `build`,
 * `push`; `clean` between attempts, or by whoever keeps the machine. Calls on one engine may overlap, and several
 * processes may use one engine home at once. Every method throws only EngineError; when `signal` fires it ends
 * everything it started, then throws code `cancelled`. After a method has settled nothing it started still runs.
 */
export interface Engine {
  readonly name: EngineName;

  /** Looks at the machine without building anything; cheap enough for the start of every attempt. */
  probe(signal: AbortSignal): Promise<EngineReport>;

  /** Builds `request` and keeps the image in the engine's store. Phases are reported in order, each once. */
  build(request: EngineBuild, events: EngineEvents, signal: AbortSignal): Promise<BuiltImage>;

  /** Pushes an image that `build` returned. Safe to repeat. */
  push(
    image: BuiltImage,
    target: PushTarget,
    events: EngineEvents,
    signal: AbortSignal,
  ): Promise<PushedImage>;

  /** Gives disk back. Never disturbs a running build: it waits for none, and does less instead. */
  clean(policy: CleanPolicy, signal: AbortSignal): Promise<CleanReport>;
}

export type EngineName = 'buildah' | 'buildkit' | 'docker' | 'podman' | 'dummy';

/** What runs RUN steps apart from the machine. `chroot` shares the machine's processes and network. */
export type Isolation = 'namespaces' | 'chroot' | 'none';

export interface EngineReport {
  readonly name: EngineName;
  readonly version: string;
  readonly isolation: Isolation;
  readonly storageDriver: string;
  readonly rootless: boolean;
  /** Whole sentences for the build's log and the operator: what is weaker than it should be, and the remedy. */
  readonly warnings: readonly string[];
  readonly features: EngineFeatures;
}

export interface EngineFeatures {
  /** `RUN <<EOF` and `COPY <<EOF`. */
  readonly heredoc: boolean;
}

/** Paths are absolute; the caller has verified that `dockerfile` and `contextDir` are inside the workspace. */
export interface EngineBuild {
  readonly contextDir: string;
  readonly dockerfile: string;
  /** A .dockerignore elsewhere than in the context's root. */
  readonly ignoreFile?: string;
  /** An empty or existing folder of the attempt's own, for credentials and scratch files; the caller removes it. */
  readonly scratchDir: string;
  readonly target?: string;
  readonly buildArgs: ReadonlyMap<string, string>;
  readonly secrets: readonly BuildSecret[];
  readonly labels: ReadonlyMap<string, string>;
  /** `os/arch[/variant]`; the machine's own when absent. */
  readonly platform?: string;
  readonly pullCredentials: readonly RegistryCredentials[];
  /** `host[:port]` of registries that may be spoken to without TLS. */
  readonly insecureRegistries: readonly string[];
  /** PEM: authorities to trust besides the machine's when base images are pulled. */
  readonly registryAuthorities?: string;
  readonly noCache?: boolean;
  /**
   * Base images: `always` (default) asks the registry each time, so that a moved tag is seen and an image one
   * build pulled with its credentials is not given to another build without them; `missing` takes what is stored.
   */
  readonly pullPolicy?: 'always' | 'missing' | 'never';
  /** `none` cuts RUN steps off; the default gives them the internet but never this machine's loopback. */
  readonly network?: 'default' | 'none';
}

/** A file shown to `RUN --mount=type=secret,id=…`. */
export interface BuildSecret {
  readonly id: string;
  readonly path: string;
}

export interface RegistryCredentials {
  /** `host[:port]`, or `host[:port]/path` for what lies below that path alone. */
  readonly registry: string;
  readonly username: string;
  readonly password: string;
}

export interface EngineEvents {
  /**
   * Raw output, standard output and error as one stream in the order written, cut anywhere. While the promise is
   * pending the engine does not read on, so a slow log slows the build instead of filling memory.
   */
  write(bytes: Buffer): Promise<void>;
  phase?(phase: EnginePhase): Promise<void>;
}

export type EnginePhase = 'pulling' | 'building' | 'pushing';

export interface BuiltImage {
  /** The engine's own name for the image: the digest of its config. */
  readonly imageId: Digest;
}

export interface PushTarget {
  /** `host[:port]` */
  readonly registry: string;
  /** Path in the registry, without host and tag. */
  readonly repository: string;
  /** A place-holder where the manager publishes the real tags, e.g. `slipway-<attempt id>`. */
  readonly tag: string;
  readonly credentials?: RegistryCredentials;
  /** The registry may be spoken to without TLS. */
  readonly insecure: boolean;
  /** As in EngineBuild. */
  readonly scratchDir: string;
}

export interface PushedImage {
  /** Of the manifest, as the registry serves it. */
  readonly digest: Digest;
  /** Bytes a pull of everything moves: config plus compressed layers. */
  readonly size: number;
  readonly mediaType: string;
}

export interface CleanPolicy {
  /** Images not used for this many milliseconds go. */
  readonly unusedFor: number;
  /** While less than this part (0 to 1) of the disk is free, the image unused for longest goes, whatever its age. */
  readonly minimumFree: number;
}

export interface CleanReport {
  readonly removedImages: number;
  /** Working containers and temporary folders of builds that were killed. */
  readonly removedLeftovers: number;
  /** Free part of the disk afterwards, 0 to 1. */
  readonly free: number;
  /** Builds were running, so nothing was removed. */
  readonly busy: boolean;
}
