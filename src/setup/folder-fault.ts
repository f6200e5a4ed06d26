import { access, constants, stat } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import { shellWord } from './shell-word.ts';

/**
 * What keeps this process's user from making a folder, or from using one, and the command that helps. Undefined: nothing
 * on the way to it does. `path` is absolute.
 */
export async function folderFault(path: string): Promise<string | undefined> {
  let parent: string | undefined;
  for (const folder of wayTo(path)) {
    const found = await stat(folder).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) {
      if (found.code !== 'ENOENT' || parent === undefined) return undefined;
      if (await may(parent, constants.W_OK)) return undefined;
      return `the user ${me()} may make nothing in ${parent}. Make it for this user: sudo install -d -o ${me()} ${shellWord(path)}`;
    }
    if (!found.isDirectory()) return `${folder} is no folder.`;
    if (!(await may(folder, constants.X_OK)))
      return `${folder} is closed to the user ${me()}. Open it as its owner: chmod ${found.uid === process.getuid?.() ? 'u+rwx' : 'o+x'} ${shellWord(folder)}`;
    parent = folder;
  }
  if (await may(path, constants.W_OK)) return undefined;
  return `the user ${me()} may not write in it. Give it to this user: sudo chown -R ${me()} ${shellWord(path)}`;
}

async function may(folder: string, mode: number): Promise<boolean> {
  return await access(folder, mode).then(
    () => true,
    () => false,
  );
}

function me(): string {
  try {
    return userInfo().username;
  } catch {
    // An id without a name, as containers have it.
    return String(process.getuid?.());
  }
}

/** The folders on the way, from the root on, and the path itself. */
export function wayTo(path: string): string[] {
  const parent = dirname(path);
  return parent === path ? [path] : [...wayTo(parent), path];
}
