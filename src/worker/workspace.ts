import { chmod, mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { removeTree } from './source/remove-tree.ts';

/** What fetching the source and building make in the root; whoever owns the root may keep other things there. */
const parts = ['package', 'git', 'source', 'scratch'];

/**
 * The folders of one attempt. Nobody else can read them: a source may hold files with the set-user-id bit, and the
 * scratch folder holds credentials.
 */
export class Workspace {
  readonly root: string;
  readonly #own: boolean;

  private constructor(root: string, own: boolean) {
    this.root = root;
    this.#own = own;
  }

  /** `given`: a folder of the attempt's own that somebody else removes; otherwise one is made in `temporary`. */
  static async create(given: string | undefined, temporary: string): Promise<Workspace> {
    const root = given ?? (await mkdtemp(join(temporary, 'slipway-worker-')));
    const workspace = new Workspace(root, given === undefined);
    await mkdir(root, { recursive: true, mode: 0o700 });
    await chmod(root, 0o700);
    await workspace.#removeParts();
    await mkdir(workspace.scratch, { mode: 0o700 });
    return workspace;
  }

  /** Credentials, secret files and what the engine needs beside them. */
  get scratch(): string {
    return join(this.root, 'scratch');
  }

  async remove(): Promise<void> {
    await this.#removeParts();
    if (this.#own) await removeTree(this.root);
  }

  async #removeParts(): Promise<void> {
    await Promise.all(parts.map((name) => removeTree(join(this.root, name))));
  }
}
