import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkAccountReach } from './account-reach.ts';
import { installPackages } from './apt.ts';
import { lockMachine } from './machine-lock.ts';
import { checkOwnAccount } from './own-account.ts';
import { hasRange, parseSubordinateRanges } from './subordinate-ids.ts';
import { ensureWorkerAccount, existingWorkerAccount } from './worker-account.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const quiet = (): void => undefined;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-setup-'));
  await chmod(folder, 0o755);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe('the lock of the machine', () => {
  test('is held by one at a time; who waits is told so', async () => {
    const file = join(folder, 'lock');
    const first = await lockMachine(quiet, { file });
    const waiting = Promise.withResolvers<string>();
    const events: string[] = [];
    const second = lockMachine((line) => waiting.resolve(line), { file }).then((lock) => {
      events.push('second has it');
      return lock;
    });
    expect(await waiting.promise).toContain('waiting');
    events.push('first gives it back');
    await first[Symbol.asyncDispose]();
    const held = await second;
    expect(events).toEqual(['first gives it back', 'second has it']);
    await held[Symbol.asyncDispose]();
  });

  test('ends with the process that held it', async () => {
    const file = join(folder, 'lock');
    const module = join(import.meta.dirname, 'machine-lock.ts');
    const script = `const { lockMachine } = await import(${JSON.stringify(module)});
      await lockMachine(() => {}, { file: ${JSON.stringify(file)} }); process.kill(process.pid, 'SIGKILL');`;
    await expect(run(process.execPath, ['--input-type=module', '-e', script])).rejects.toMatchObject({
      signal: 'SIGKILL',
    });
    const lock = await lockMachine(quiet, { file, wait: 20 });
    await lock[Symbol.asyncDispose]();
  });

  test('gives up after the wait, and on the signal', async () => {
    const file = join(folder, 'lock');
    await using _held = await lockMachine(quiet, { file });
    await expect(lockMachine(quiet, { file, wait: 0 })).rejects.toMatchObject({ code: 'machine-locked' });
    const stop = new AbortController();
    const reason = new Error('enough');
    const waiting = lockMachine(() => stop.abort(reason), { file, signal: stop.signal });
    await expect(waiting).rejects.toBe(reason);
  });
});

describe.runIf(isRoot)('the way of the account to its folders', () => {
  const nobody = { name: 'nobody', uid: 65534, gid: 65534 };

  test('is open, or the first thing in the way is named with the command that opens it', async () => {
    const outer = join(folder, "it's closed");
    const inner = join(outer, 'inner');
    const file = join(inner, 'program.ts');
    await mkdir(inner, { recursive: true });
    await writeFile(file, '');
    await chmod(outer, 0o700);
    await chmod(file, 0o600);
    const check = async () => await checkAccountReach({ account: nobody, paths: [inner, file] });
    await expect(check()).rejects.toMatchObject({
      code: 'folder-closed',
      message: expect.stringContaining(`chmod o+x '${outer.replace("'", "'\\''")}'`),
    });
    await chmod(outer, 0o711);
    await expect(check()).rejects.toMatchObject({
      code: 'folder-closed',
      message: expect.stringMatching(/nobody, which cannot read .*program\.ts.*chmod o\+r/),
    });
    await chmod(file, 0o644);
    await check();
  });

  test('cannot be looked at by an account that cannot be used', async () => {
    const account = { name: 'none', uid: Number.NaN, gid: Number.NaN };
    await expect(checkAccountReach({ account, paths: [folder] })).rejects.toMatchObject({
      code: 'account-failed',
    });
  });
});

describe.runIf(isRoot)('installing packages, with a recording apt-get', () => {
  /** An apt-get that writes down its calls, puts the programs of what it installs into the folder, and can fail. */
  async function recordingApt(options: { known: boolean; failures?: number }) {
    const calls = join(folder, 'calls');
    const aptGet = join(folder, 'apt-get');
    const aptCache = join(folder, 'apt-cache');
    await writeFile(join(folder, 'failures'), `${options.failures ?? 0}`);
    await writeFile(
      aptGet,
      `#!/bin/sh
cd ${folder}
echo "$* (services: $(test -x /usr/sbin/policy-rc.d && echo held back))" >>calls
case " $* " in *" install "*)
  left=$(cat failures)
  if [ "$left" -gt 0 ]; then echo $((left - 1)) >failures; echo 'E: 404 Not Found'; exit 100; fi
  touch installed;;
esac
`,
      { mode: 0o755 },
    );
    await writeFile(
      aptCache,
      `#!/bin/sh\nprintf 'tool:\\n  Installed: (none)\\n  Candidate: ${options.known ? '1.0' : '(none)'}\\n'\n`,
      {
        mode: 0o755,
      },
    );
    return {
      programs: { aptGet, aptCache },
      missing: () =>
        existsSync(join(folder, 'installed'))
          ? []
          : [{ name: 'tool', programs: ['tool'], why: 'is for tests' }],
      calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
    };
  }

  test('fetches no list when the package is known, and lets no service start', async () => {
    const policyBefore = existsSync('/usr/sbin/policy-rc.d');
    const apt = await recordingApt({ known: true });
    const lines: string[] = [];
    await installPackages(apt.missing, { report: (line) => lines.push(line), programs: apt.programs });
    expect(apt.calls()).toEqual([
      expect.stringMatching(/install --no-install-recommends tool \(services: held back\)$/),
    ]);
    expect(lines).toEqual(['installing the Debian package tool, which is for tests']);
    expect(existsSync('/usr/sbin/policy-rc.d')).toBe(policyBefore);
  });

  test('fetches the list when the package is not known', async () => {
    const apt = await recordingApt({ known: false });
    await installPackages(apt.missing, { report: quiet, programs: apt.programs });
    expect(apt.calls().map((call) => /update|install/.exec(call)?.[0])).toEqual(['update', 'install']);
  });

  test('fetches the list once and tries again when a download fails', async () => {
    const apt = await recordingApt({ known: true, failures: 1 });
    await installPackages(apt.missing, { report: quiet, programs: apt.programs });
    expect(apt.calls().map((call) => /update|install/.exec(call)?.[0])).toEqual([
      'install',
      'update',
      'install',
    ]);
  });

  test('says what failed when it goes on failing', async () => {
    const apt = await recordingApt({ known: true, failures: 9 });
    const thrown: unknown = await installPackages(apt.missing, {
      report: quiet,
      programs: apt.programs,
    }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: 'apt-failed' });
    expect(String(thrown)).toContain('404 Not Found');
  });

  test('two at once install once', async () => {
    const apt = await recordingApt({ known: true });
    const both = [1, 2].map(() => installPackages(apt.missing, { report: quiet, programs: apt.programs }));
    await Promise.all(both);
    expect(apt.calls()).toHaveLength(1);
  });
});

describe.runIf(isRoot)('the account of workers', () => {
  const name = `slipway-t${randomBytes(3).toString('hex')}`;

  afterEach(() => {
    spawnSync('userdel', [name]);
  });

  test('that does not exist is not made where nothing may be changed', async () => {
    await expect(existingWorkerAccount(name)).rejects.toMatchObject({ code: 'account-failed' });
    expect(spawnSync('id', [name]).status).not.toBe(0);
  });

  test('is made once, with ids, home and devices, also by three at once', async () => {
    const lines: string[] = [];
    const options = { report: (line: string) => lines.push(line), name, home: join(folder, 'home') };
    const made = await Promise.all([1, 2, 3].map(() => ensureWorkerAccount(options)));
    expect(new Set(made.map(({ uid }) => uid)).size).toBe(1);
    expect(lines.filter((line) => line.includes('making the system account'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('subordinate ids'))).toHaveLength(1);

    const [account] = made;
    if (account === undefined) throw new Error('no account');
    expect(await existingWorkerAccount(name)).toEqual({ name, uid: account.uid, gid: account.gid });
    expect(Number(execFileSync('id', ['-u', name], { encoding: 'utf8' }))).toBe(account.uid);
    expect(statSync(account.home).uid).toBe(account.uid);
    for (const file of ['/etc/subuid', '/etc/subgid']) {
      const ranges = parseSubordinateRanges(readFileSync(file, 'utf8'));
      expect(hasRange(ranges, name, account.uid)).toBe(true);
      expect(ranges.filter(({ owner }) => owner === name)).toHaveLength(1);
      const ordered = ranges.toSorted((a, b) => a.first - b.first);
      for (const [index, range] of ordered.entries()) {
        const next = ordered[index + 1];
        if (next?.owner === name || range.owner === name) {
          expect(range.first + range.count).toBeLessThanOrEqual(next?.first ?? Number.POSITIVE_INFINITY);
        }
      }
    }

    // What it is all for: a user namespace with the whole range, made by the account itself.
    const map = execFileSync(
      'setpriv',
      [
        `--reuid=${account.uid}`,
        `--regid=${account.gid}`,
        '--clear-groups',
        '--',
        'unshare',
        '--user',
        '--map-auto',
        '--map-root-user',
        'cat',
        '/proc/self/uid_map',
      ],
      { encoding: 'utf8', cwd: '/' },
    );
    expect(map).toMatch(/^\s*0\s+\d+\s+1\s*$/m);
    expect(map).toMatch(/\s65536$|\s65535$/m);

    lines.length = 0;
    await ensureWorkerAccount(options);
    expect(lines.filter((line) => !line.startsWith('/dev/'))).toEqual([]);
  });

  test('is never root', async () => {
    await expect(
      ensureWorkerAccount({ report: quiet, name: 'root', home: join(folder, 'home') }),
    ).rejects.toMatchObject({
      code: 'account-failed',
    });
    expect(existsSync(join(folder, 'home'))).toBe(false);
  });
});

describe.runIf(isRoot)('a data folder that an ordinary user cannot have', () => {
  const module = join(import.meta.dirname, 'data-folder.ts');

  /** What openDataFolder says when nobody runs it, and whether the command that it names helps. */
  function open(path: string): { code?: string; message?: string } {
    const script = `const { openDataFolder } = await import(${JSON.stringify(module)});
      try { (await openDataFolder(${JSON.stringify(path)})).release(); console.log('{}'); }
      catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;
    const node = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      script,
    ];
    const said = execFileSync(
      'setpriv',
      ['--reuid=65534', '--regid=65534', '--clear-groups', '--', ...node],
      { encoding: 'utf8', cwd: '/' },
    );
    return JSON.parse(said) as { code?: string; message?: string };
  }

  const make = {
    'a parent that is closed': async () => {
      const closed = join(folder, "it's closed");
      await mkdir(join(closed, 'inner/data'), { recursive: true });
      execFileSync('chown', ['-R', '65534', join(closed, 'inner')]);
      await chmod(closed, 0o700);
      return join(closed, 'inner/data');
    },
    'a parent where only others write': async () => join(folder, 'new/data'),
    'a folder of somebody else': async () => {
      const path = join(folder, 'theirs');
      await mkdir(path);
      return path;
    },
  };

  test.each(Object.entries(make))('%s: one is told the command, which mends it', async (_what, prepare) => {
    const path = await prepare();
    const before = open(path);
    expect(before.code).toBe('data-folder');
    const command = /: (?:sudo )?((?:chmod|chown|install) .*?) {3}Or /.exec(before.message ?? '')?.[1];
    execFileSync('sh', ['-c', command ?? 'false']);
    expect(open(path)).toEqual({});
  });
});

describe.runIf(isRoot)('an ordinary user', () => {
  const name = `slipway-u${randomBytes(3).toString('hex')}`;
  const module = join(import.meta.dirname, 'own-account.ts');

  /** What checkOwnAccount says when that user runs it. */
  function check(): { code?: string; message?: string } {
    const script = `const { checkOwnAccount } = await import(${JSON.stringify(module)});
      try { await checkOwnAccount({ report: () => {} }); console.log('{}'); }
      catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`;
    const [uid, gid] = ['-u', '-g'].map((flag) =>
      execFileSync('id', [flag, name], { encoding: 'utf8' }).trim(),
    );
    const node = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      script,
    ];
    const said = execFileSync(
      'setpriv',
      [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--', ...node],
      {
        encoding: 'utf8',
        cwd: '/',
      },
    );
    return JSON.parse(said) as { code?: string; message?: string };
  }

  afterEach(() => {
    spawnSync('userdel', [name]);
  });

  test('without subordinate ids is told the command, which mends it', async () => {
    execFileSync('useradd', ['--system', '--no-create-home', name]);
    const before = check();
    expect(before.code).toBe('no-subuid');
    const command = /sudo (usermod .*)$/.exec(before.message ?? '')?.[1];
    execFileSync('sh', ['-c', command ?? 'false']);
    // The devices are opened at set-up by root; a machine may lack them altogether.
    expect([undefined, 'devices-closed']).toContain(check().code);
  });
});

test.skipIf(isRoot)('an ordinary user either has what builds need or is told a command', async () => {
  const thrown: unknown = await checkOwnAccount({ report: quiet }).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (thrown !== undefined) expect(String(thrown)).toMatch(/with: sudo /);
});
