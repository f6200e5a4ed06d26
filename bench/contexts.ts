import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A context whose steps work for about ten seconds and write some 60 MB: hashing, and files that do not compress. */
export async function largeContext(folder: string): Promise<void> {
  await context(
    folder,
    `FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ARG ROUND=0
RUN echo "round $ROUND" > /round && i=0; while [ $i -lt 3 ]; do head -c 500000000 /dev/zero | sha256sum; i=$((i+1)); done
RUN head -c 20000000 /dev/urandom > /data1 && sha256sum /data1
RUN i=0; while [ $i -lt 3 ]; do head -c 500000000 /dev/zero | sha256sum; i=$((i+1)); done
RUN head -c 20000000 /dev/urandom > /data2 && sha256sum /data2
COPY data.txt /
RUN head -c 20000000 /dev/urandom > /data3 && sha256sum /data3
`,
  );
}

export async function tinyContext(folder: string): Promise<void> {
  await context(
    folder,
    `FROM scratch
COPY busybox /bin/busybox
ARG ROUND=0
RUN ["/bin/busybox", "true"]
`,
  );
}

/** One step that writes `bytes` of log in lines of 100 bytes. */
export async function logContext(folder: string, bytes: number): Promise<void> {
  const line = 'x'.repeat(90);
  await context(
    folder,
    `FROM scratch
COPY busybox /bin/busybox
ARG ROUND=0
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox yes ${'0123456 '}${line}0 | /bin/busybox head -c ${bytes}"]
`,
  );
}

async function context(folder: string, dockerfile: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'Dockerfile'), dockerfile);
  await writeFile(join(folder, 'data.txt'), 'a file of the context\n');
  await copyFile('/bin/busybox', join(folder, 'busybox'));
}
