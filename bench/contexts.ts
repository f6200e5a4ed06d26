import { randomBytes } from 'node:crypto';
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

/** Every line of the log below has it once, and nothing else has. */
export const logMark = ' compiled module-';
export const logLineBytes = 100;

/**
 * One step that writes `bytes` of log in lines of 100 bytes, by writing a file of different lines many times. The lines
 * look like a compiler's: a third of each is random, so that they are as much work to compress and store as real ones.
 */
export async function logContext(folder: string, bytes: number): Promise<void> {
  const lines: string[] = [];
  for (let line = 0; line < 100_000; line += 1) {
    const start = `[${String(line).padStart(7)}/100000]${logMark}${line % 977}/source-${line % 8191}.c `;
    lines.push(start.padEnd(logLineBytes - 36, '.') + randomBytes(18).toString('hex').slice(0, 35));
  }
  const text = `${lines.join('\n')}\n`;
  const times = bytes / text.length;
  if (!Number.isSafeInteger(times)) throw new RangeError(`${bytes} is no multiple of ${text.length}`);
  await context(
    folder,
    `FROM scratch
COPY busybox /bin/busybox
COPY lines.txt /
ARG ROUND=0
RUN ["/bin/busybox", "sh", "-c", "i=0; while [ $i -lt ${times} ]; do /bin/busybox cat /lines.txt; i=$((i+1)); done"]
`,
  );
  await writeFile(join(folder, 'lines.txt'), text);
}

async function context(folder: string, dockerfile: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'Dockerfile'), dockerfile);
  await writeFile(join(folder, 'data.txt'), 'a file of the context\n');
  await copyFile('/bin/busybox', join(folder, 'busybox'));
}
