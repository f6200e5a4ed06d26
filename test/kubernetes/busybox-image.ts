import { execFile } from 'node:child_process';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const busyboxName = 'localhost/busybox:test';

/** An image of nothing but busybox, which waits for ever unless it is told otherwise, as an archive in a folder. */
export async function busyboxImage(
  folder: string,
): Promise<{ readonly archive: string; readonly image: string }> {
  const [context, archive] = [join(folder, 'busybox'), join(folder, 'busybox.tar')];
  await mkdir(context);
  await copyFile('/bin/busybox', join(context, 'busybox'));
  const lines = ['FROM scratch', 'COPY busybox /bin/busybox', 'COPY busybox /bin/sh'];
  await writeFile(
    join(context, 'Containerfile'),
    [...lines, 'ENTRYPOINT ["/bin/busybox", "sleep", "1000000"]', ''].join('\n'),
  );
  const storage = ['--root', join(folder, 'storage'), '--runroot', join(folder, 'run')];
  const store = [...storage, '--storage-driver', 'vfs'];
  await run('buildah', [...store, 'build', '-q', '-t', busyboxName, context]);
  await run('buildah', [...store, 'push', '-q', busyboxName, `docker-archive:${archive}:${busyboxName}`]);
  return { archive, image: busyboxName };
}
