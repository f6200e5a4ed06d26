import { gzipSync } from 'node:zlib';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/coded-error.ts';
import { type Digest, digestOf } from '../../model/digest.ts';
import { readDockerfile } from './dockerfile-check.ts';
import { type DummyStep, dummySteps } from './dummy-script.ts';
import type {
  BuiltImage,
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
import { askRegistry } from './registry-exchange.ts';

const mediaTypes = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

/** A tar archive without members: two blocks of zeros. */
const emptyTar = Buffer.alloc(1024);
const layer = gzipSync(emptyTar);

/**
 * Builds nothing, anywhere: no processes, no rights, no disk. It does what `#dummy` lines of the Dockerfile say (see
 * dummy-script.ts), checks the Dockerfile as the real engines do, and pushes a real image of one empty layer, so that
 * the whole path through manager and registry can run on any machine. One Dockerfile gives one digest.
 */
export class DummyEngine implements Engine {
  readonly name = 'dummy';
  readonly #clock: Clock;
  readonly #images = new Map<Digest, DummyImage>();

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  async probe(signal: AbortSignal): Promise<EngineReport> {
    throwIfCancelled(signal);
    return {
      name: 'dummy',
      version: '1.0.0',
      isolation: 'none',
      storageDriver: 'none',
      rootless: true,
      warnings: ['The dummy engine builds nothing: its images are empty.'],
      features: { heredoc: true },
    };
  }

  async build(request: EngineBuild, events: EngineEvents, signal: AbortSignal): Promise<BuiltImage> {
    throwIfCancelled(signal);
    const title = 'the dummy engine';
    const { instructions, comments } = await readDockerfile(request.dockerfile, {
      title,
      features: { heredoc: true },
    });
    const { building, pushing } = dummySteps(comments);
    await this.#phase('pulling', events);
    await this.#phase('building', events);
    for (const [at, { keyword, rest }] of instructions.entries()) {
      const line = `STEP ${at + 1}/${instructions.length}: ${keyword} ${rest}\n`;
      await this.#write(Buffer.from(line), events, signal);
    }
    await this.#perform(building, events, signal);
    const config = Buffer.from(
      JSON.stringify({
        architecture: 'amd64',
        os: 'linux',
        created: '1970-01-01T00:00:00Z',
        config: { Labels: Object.fromEntries(request.labels) },
        rootfs: { type: 'layers', diff_ids: [digestOf(emptyTar)] },
        history: instructions.map(({ keyword, rest }, at) => ({
          created_by: `${keyword} ${rest}`,
          ...(at === 0 ? {} : { empty_layer: true }),
        })),
      }),
    );
    const imageId = digestOf(config);
    this.#images.set(imageId, { config, pushing });
    return { imageId };
  }

  async push(
    { imageId }: BuiltImage,
    target: PushTarget,
    events: EngineEvents,
    signal: AbortSignal,
  ): Promise<PushedImage> {
    throwIfCancelled(signal);
    const image = this.#images.get(imageId);
    if (image === undefined)
      throw new EngineError('enginefailed', `The dummy engine has built no image ${imageId}.`);
    await this.#phase('pushing', events);
    await this.#perform(image.pushing, events, signal);
    const part = (mediaType: string, bytes: Buffer) => ({
      mediaType,
      size: bytes.length,
      digest: digestOf(bytes),
    });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.manifest,
        config: part(mediaTypes.config, image.config),
        layers: [part(mediaTypes.layer, layer)],
      }),
    );
    try {
      for (const blob of [layer, image.config]) await pushBlob(blob, target, signal);
      const headers = { 'content-type': mediaTypes.manifest };
      const path = `/v2/${target.repository}/manifests/${target.tag}`;
      await put(path, Buffer.from(manifest), headers, target, signal);
    } catch (thrown) {
      throwIfCancelled(signal);
      throw new EngineError(
        'pushissue',
        `The image could not be pushed to ${target.registry}/${target.repository}: ${messageOf(thrown)}`,
        thrown,
      );
    }
    return {
      digest: digestOf(manifest),
      size: image.config.length + layer.length,
      mediaType: mediaTypes.manifest,
    };
  }

  async clean(_policy: unknown, signal: AbortSignal): Promise<CleanReport> {
    throwIfCancelled(signal);
    const removedImages = this.#images.size;
    this.#images.clear();
    return { removedImages, removedLeftovers: 0, free: 1, busy: false };
  }

  async #perform(steps: readonly DummyStep[], events: EngineEvents, signal: AbortSignal): Promise<void> {
    for (const step of steps) {
      throwIfCancelled(signal);
      switch (step.kind) {
        case 'sleep':
          await this.#clock.sleep(step.milliseconds, signal).catch(() => {
            throw cancelled(signal);
          });
          break;
        case 'hang':
          await new Promise<void>((resolve) =>
            signal.addEventListener('abort', () => resolve(), { once: true }),
          );
          throw cancelled(signal);
        case 'output':
          for (const bytes of step.bytes()) {
            await this.#write(bytes, events, signal);
          }
          break;
        case 'fail':
          throw new EngineError(step.code, step.message);
      }
    }
  }

  async #write(bytes: Buffer, events: EngineEvents, signal: AbortSignal): Promise<void> {
    await writtenOrAborted(events.write(bytes), signal).catch((thrown: unknown) => {
      throw unwritten(thrown);
    });
    throwIfCancelled(signal);
  }

  async #phase(phase: EnginePhase, events: EngineEvents): Promise<void> {
    await events.phase?.(phase).catch((thrown: unknown) => {
      throw unwritten(thrown);
    });
  }
}

interface DummyImage {
  readonly config: Buffer;
  readonly pushing: readonly DummyStep[];
}

async function pushBlob(blob: Buffer, target: PushTarget, signal: AbortSignal): Promise<void> {
  const begun = await askRegistry(
    target,
    `/v2/${target.repository}/blobs/uploads/`,
    { method: 'POST' },
    signal,
  );
  await begun.body?.cancel();
  const location = begun.headers.get('location');
  if (begun.status !== 202 || location === null)
    throw new Error(`the registry answered ${begun.status} to an upload`);
  const url = new URL(location, `http://${target.registry}`);
  url.searchParams.set('digest', digestOf(blob));
  await put(
    `${url.pathname}${url.search}`,
    blob,
    { 'content-type': 'application/octet-stream' },
    target,
    signal,
  );
}

async function put(
  path: string,
  bytes: Buffer,
  headers: Record<string, string>,
  target: PushTarget,
  signal: AbortSignal,
): Promise<void> {
  const answer = await askRegistry(
    target,
    path,
    { method: 'PUT', headers, body: Uint8Array.from(bytes) },
    signal,
  );
  await answer.body?.cancel();
  if (answer.status !== 201) throw new Error(`the registry answered ${answer.status}`);
}
