import { resolve } from 'node:path';
import { type PackedContext, type PackProgress, packContext } from '../context/pack.ts';
import type { Client } from './client.ts';
import { formatBytes, formatSpan } from './format.ts';
import { harmless } from './harmless-text.ts';
import { ProgressLine } from './progress-line.ts';
import type { Terminal } from './terminal.ts';

export interface ContextUploadOptions {
  readonly folder: string;
  /** The Dockerfile, relative to where the command runs, as other builders take it. */
  readonly file: string | undefined;
  readonly say: (line: string) => void;
}

/** A build context on its way to the server. `open` finds what is wrong with it before the server is asked anything. */
export class ContextUpload {
  readonly #packed: PackedContext;
  readonly #progress: ProgressLine;
  readonly #seen: () => PackProgress;
  readonly #say: (line: string) => void;

  private constructor(
    packed: PackedContext,
    progress: ProgressLine,
    seen: () => PackProgress,
    say: (line: string) => void,
  ) {
    this.#packed = packed;
    this.#progress = progress;
    this.#seen = seen;
    this.#say = say;
  }

  /** Throws ContextError. */
  static async open(terminal: Terminal, { folder, file, say }: ContextUploadOptions): Promise<ContextUpload> {
    const progress = new ProgressLine(terminal, 'Uploading');
    let seen: PackProgress = { files: 0, bytes: 0 };
    const packed = await packContext({
      folder,
      ...(file === undefined ? {} : { dockerfile: resolve(terminal.cwd, file) }),
      onWarning: (warning) => {
        progress.end();
        say(`Warning: ${harmless(warning, false)}`);
      },
      onProgress: (now) => {
        seen = now;
        // How much there is in all is not known before the last folder was read.
        progress.update(now.bytes, undefined, countFiles(now.files));
      },
    });
    return new ContextUpload(packed, progress, () => seen, say);
  }

  /** Sends it, once. What to put into the build request. Throws ContextError and CliError. */
  async send(client: Client): Promise<Record<string, unknown>> {
    const started = performance.now();
    const drop = await client.post<{ url: string; file_id: string }>('/api/v1/filedrop/', {
      mimeType: 'application/gzip',
    });
    await client.upload(drop.url, this.#packed.stream, 'application/gzip');
    this.#progress.end();
    const { files, bytes } = this.#seen();
    this.#say(
      `Uploaded ${countFiles(files)}, ${formatBytes(bytes)}, in ${formatSpan(performance.now() - started)}`,
    );
    return { file_id: drop.file_id, context: '/', dockerfile_path: `/${this.#packed.dockerfilePath}` };
  }

  /** Ends it, sent or not. */
  close(): void {
    this.#progress.end();
    this.#packed.stream.destroy();
  }
}

function countFiles(count: number): string {
  return count === 1 ? '1 file' : `${count} files`;
}
