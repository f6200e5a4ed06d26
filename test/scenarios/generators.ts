import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Content that is too large or too odd to stand in a folder of the repository. Each gets the context's folder. */
export const generators: Readonly<Record<string, (context: string) => Promise<void>>> = {
  twentyThousandFiles: async (context) => {
    for (let folder = 0; folder < 100; folder += 1) {
      const path = join(context, 'many', `folder-${folder}`);
      await mkdir(path, { recursive: true });
      await Promise.all(
        Array.from({ length: 200 }, (_, file) => writeFile(join(path, `file-${file}.txt`), `${folder}/${file}\n`)),
      );
    }
  },
  utf16Dockerfile: async (context) => {
    await writeFile(join(context, 'Dockerfile'), Buffer.from('\ufeffFROM scratch\r\n', 'utf16le'));
  },
  hugeDockerfile: async (context) => {
    await writeFile(join(context, 'Dockerfile'), `FROM scratch\n${'# padding\n'.repeat(1_000_000)}`);
  },
};
