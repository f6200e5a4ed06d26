import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { viewProgram } from './program-view.ts';

const run = promisify(execFile);
// `nobody` of every Debian: it owns nothing, which is what is wanted here.
const account = { name: 'nobody', uid: 65_534, gid: 65_534 };

let folder: string;
let installation: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-view-'));
  await chmod(folder, 0o711);
  installation = join(folder, 'installation');
  await mkdir(join(installation, 'src/bin'), { recursive: true });
  await mkdir(join(installation, 'node_modules/dependency'), { recursive: true });
  await writeFile(join(installation, 'package.json'), '{"type":"module"}');
  await writeFile(
    join(installation, 'node_modules/dependency/package.json'),
    '{"type":"module","exports":"./main.js"}',
  );
  await writeFile(join(installation, 'node_modules/dependency/main.js'), 'export const answer = 42;');
  await writeFile(
    join(installation, 'src/bin/worker.ts'),
    `import { writeFileSync } from 'node:fs';
import { answer } from 'dependency';
let written = 'written';
try { writeFileSync(import.meta.filename, ''); } catch (error) { written = (error as NodeJS.ErrnoException).code ?? ''; }
console.log(JSON.stringify({ answer, uid: process.getuid?.(), groups: process.getgroups?.(), written, file: import.meta.filename }));
`,
  );
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function start() {
  const view = await viewProgram({
    account,
    installation,
    node: process.execPath,
    folder: join(folder, 'view'),
  });
  const [program, ...args] = view.command;
  const { stdout } = await run(program, [...args, view.pathOf('src/bin/worker.ts')], {
    cwd: '/',
    ...(view.dropsPrivileges ? {} : { uid: account.uid, gid: account.gid }),
  });
  return { view, said: JSON.parse(stdout) as Record<string, unknown> };
}

describe.runIf(process.getuid?.() === 0)('the program as the account of workers sees it', () => {
  test('is the installation itself where the account can reach it', async () => {
    const reachable = await viewProgram({
      account,
      installation,
      node: '/bin/sh',
      folder: join(folder, 'view'),
    });
    expect(reachable).toMatchObject({ command: ['/bin/sh', expect.any(String)], dropsPrivileges: false });
    expect(reachable.pathOf('src/bin/worker.ts')).toBe(join(installation, 'src/bin/worker.ts'));
  });

  test('is shown to it, and only for reading, where the installation is closed', async () => {
    await chmod(installation, 0o700);
    const { view, said } = await start();
    expect(view.dropsPrivileges).toBe(true);
    expect(said).toMatchObject({ answer: 42, uid: account.uid, groups: [account.gid] });
    expect(said.written).toMatch(/^(EROFS|EACCES)$/);
    expect(said.file).toBe(join(folder, 'view/program/src/bin/worker.ts'));
    // The mounts were the process's own.
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(folder);
  });

  test('is refused with what to do where its files are closed too', async () => {
    await chmod(installation, 0o700);
    await chmod(join(installation, 'src'), 0o700);
    await expect(start()).rejects.toMatchObject({ code: 'folder-closed' });
  });
});
