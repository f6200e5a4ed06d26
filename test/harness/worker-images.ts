import { execFile } from 'node:child_process';
import { chmod, copyFile, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { createRepository } from './build-client.ts';
import { SlipwayServer } from './slipway-server.ts';

const run = promisify(execFile);
const project = resolve(import.meta.dirname, '../..');

/**
 * A Slipway that builds the images of its own workers from a Debian that mmdebstrap makes. To try it often, set
 * SLIPWAY_TEST_BASE to the tar file of one, which takes mmdebstrap a minute.
 */
export class WorkerImages implements AsyncDisposable {
  readonly #builder: SlipwayServer;
  readonly #folder: string;

  private constructor(builder: SlipwayServer, folder: string) {
    this.#builder = builder;
    this.#folder = folder;
  }

  /** In a folder that is not there yet. */
  static async start(folder: string): Promise<WorkerImages> {
    await mkdir(folder);
    await chmod(folder, 0o711);
    const images = new WorkerImages(await SlipwayServer.start(), folder);
    try {
      await images.#makeBase();
      await makeContext(images.#context);
      return images;
    } catch (thrown) {
      await images[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** What tools of containers need to say to its registry. */
  get login(): readonly string[] {
    return ['--tls-verify=false', '--creds', this.credentials];
  }

  get credentials(): string {
    return `$oauthtoken:${this.#builder.token}`;
  }

  reference(target: string): string {
    return `${this.#builder.host}/admin/worker:${target}`;
  }

  /** Gives the reference of the image. */
  async build(target: 'rootless' | 'root'): Promise<string> {
    await this.#build(
      ...[this.#context, '--file', join(this.#context, 'deploy/worker/Dockerfile')],
      ...['--repo', 'admin/worker', '--tag', target, '--target', target],
      ...['--build-arg', `BASE=${this.#builder.host}/admin/base:1`],
    );
    return this.reference(target);
  }

  get #context(): string {
    return join(this.#folder, 'context');
  }

  async #makeBase(): Promise<void> {
    const folder = join(this.#folder, 'base');
    await mkdir(folder);
    const base = join(folder, 'base.tar');
    const { SLIPWAY_TEST_BASE: made } = process.env;
    if (made === undefined) await run('mmdebstrap', ['--variant=minbase', '--quiet', 'bookworm', base]);
    else await copyFile(made, base);
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nADD base.tar /\n');
    await createRepository(this.#builder, 'admin', 'base');
    await this.#build(folder, '--repo', 'admin/base', '--tag', '1');
    await rm(folder, { recursive: true });
  }

  async #build(...args: string[]): Promise<void> {
    await run(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(project, 'src/bin/slipway.ts'), 'build', ...args],
      { env: { ...process.env, SLIPWAY_PROFILE: this.#builder.profileFile }, maxBuffer: 1e8 },
    ).catch((thrown: { stdout?: string; stderr?: string }) => {
      throw new Error(`the image was not built:\n${thrown.stdout?.slice(-4000)}\n${thrown.stderr}`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#builder.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/**
 * The repository as the image's Dockerfile wants it: with what `./slipway` fetches for running, but without what only
 * development needs, which the Dockerfile would throw away.
 */
async function makeContext(folder: string): Promise<void> {
  const copy = async (path: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await cp(join(project, path), join(folder, path), { recursive: true });
  };
  for (const path of ['slipway', 'package.json', 'package-lock.json', 'src', 'scripts/runtime.sh', 'deploy'])
    await copy(path);
  const { packages } = JSON.parse(await readFile(join(project, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  // Nested packages come with the one they are in.
  for (const [path, { dev }] of Object.entries(packages))
    if (/^node_modules\/(?:@[^/]+\/)?[^/]+$/.test(path) && dev !== true)
      // An optional one may be of another platform.
      await copy(path).catch((thrown: NodeJS.ErrnoException) => {
        if (thrown.code !== 'ENOENT') throw thrown;
      });
  await copy('node_modules/.slipway-installed');
  const node = `.node/node_modules/node-linux-${process.arch}/bin/node`;
  await mkdir(dirname(join(folder, node)), { recursive: true });
  await copyFile(process.execPath, join(folder, node));
}
