import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * A control group (version 2, no controllers) for one worker: whatever the worker starts stays in it, also what leaves
 * its session or hides in a namespace, so one write ends all of it. Made only where the machine allows it.
 */
export class ControlGroup {
  readonly #path: string;

  constructor(parent: string, name: string) {
    this.#path = join(parent, name);
  }

  /** False: this worker goes without. */
  add(pid: number): boolean {
    try {
      mkdirSync(this.#path, { recursive: true });
      writeFileSync(join(this.#path, 'cgroup.procs'), String(pid));
      return true;
    } catch {
      return false;
    }
  }

  /** Ends everything in the group. */
  kill(): void {
    try {
      writeFileSync(join(this.#path, 'cgroup.kill'), '1');
    } catch {
      // No such group, or a kernel before 5.14: the process group and the scan of /proc remain.
    }
  }

  get populated(): boolean {
    try {
      return /^populated 1$/m.test(readFileSync(join(this.#path, 'cgroup.events'), 'utf8'));
    } catch {
      return false;
    }
  }

  /** Succeeds only once the group is empty. */
  remove(): boolean {
    if (!existsSync(this.#path)) return true;
    try {
      rmdirSync(this.#path);
      return true;
    } catch {
      return false;
    }
  }
}

/** Our own control group of the unified hierarchy, when groups can be made and killed in it. */
export function controlGroupParent(): string | undefined {
  for (const mount of ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']) {
    try {
      const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
      if (own === undefined) return undefined;
      const parent = join(mount, own);
      accessSync(join(parent, 'cgroup.procs'), constants.W_OK);
      const probe = join(parent, `slipway-probe-${process.pid}`);
      mkdirSync(probe);
      const able = existsSync(join(probe, 'cgroup.kill'));
      rmdirSync(probe);
      if (able) return parent;
    } catch {
      // Not mounted here, or not ours to write.
    }
  }
  return undefined;
}
