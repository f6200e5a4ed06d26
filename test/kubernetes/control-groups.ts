import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = '/sys/fs/cgroup';

/** Where groups can be made: at one place in version 2; else for each controller, and in a tree without any. */
function hierarchies(): readonly string[] {
  if (existsSync(join(root, 'cgroup.procs'))) return [root];
  return readdirSync(root)
    .map((name) => join(root, name))
    .filter((path) => existsSync(join(path, 'cgroup.procs')));
}

/** A group at the top of every hierarchy, for all pods of a node. Its name has the id of this process. */
export async function makeControlGroups(name: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    const group = join(hierarchy, name);
    const controllers = join(hierarchy, 'cgroup.controllers');
    const all = existsSync(controllers) ? readFileSync(controllers, 'utf8').trim() : '';
    if (all !== '') await writeFile(join(hierarchy, 'cgroup.subtree_control'), all.replaceAll(/\S+/g, '+$&'));
    await mkdir(group);
    for (const setting of ['cpuset.cpus', 'cpuset.mems']) {
      // In version 1 a new group may use nothing.
      if (existsSync(join(group, 'tasks')) && existsSync(join(group, setting)))
        await writeFile(join(group, setting), readFileSync(join(hierarchy, setting), 'utf8'));
    }
  }
}

/** They stay, empty, when their processes are killed: these are removed, and those of tests that were killed. */
export async function removeControlGroups(name: string): Promise<void> {
  for (const hierarchy of hierarchies()) {
    for (const found of readdirSync(hierarchy)) {
      const pid = /^slipway-test-node-(\d+)-/.exec(found)?.[1];
      if (pid !== undefined && (found === name || !existsSync(`/proc/${pid}`)))
        await remove(join(hierarchy, found));
    }
  }
}

/** A group goes when those within are gone; the last process of one may take a moment. */
async function remove(path: string): Promise<void> {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) await remove(join(path, entry.name));
  for (const deadline = Date.now() + 10_000; ; await sleep(50)) {
    try {
      await rmdir(path);
      return;
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || Date.now() > deadline) throw thrown;
    }
  }
}
