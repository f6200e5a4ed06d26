import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startRegistry } from '../../../test/services/docker-registry.ts';
import { freePort, serviceFolder } from '../../../test/services/service.ts';
import { becomeWorker, ensureAccount } from '../../../test/services/worker-account.ts';
import { ManualClock } from '../../base/clock.ts';
import { BuildahEngine, type BuildahOptions } from './buildah.ts';
import { runConfined } from './confinement.ts';
import {
  engineSuite,
  failure,
  Recorder,
  served,
  target,
  withTimePassing,
  workspace,
} from './engine.suite.ts';
import type { BuiltImage, EngineBuild } from './engine.ts';

const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** In the command line of every RUN step that is meant to hang. */
const hangMark = `7${process.pid}1`;
const never = new AbortController().signal;

let registry: Awaited<ReturnType<typeof startRegistry>>;
let root: string;
let account: { uid: number; gid: number };
let deadRegistry: string;

beforeAll(async () => {
  if (process.getuid?.() === 0) {
    // Root can also remove what runs that were killed have left.
    root = await serviceFolder('buildah');
    const { uid, gid } = ensureAccount();
    chownSync(root, uid, gid);
  } else {
    root = await mkdtemp(join(tmpdir(), 'slipway-buildah-'));
  }
  deadRegistry = `127.0.0.1:${await freePort()}`;
  // From here on this process is what a worker is: an account without rights.
  account = becomeWorker();
  registry = await startRegistry();
});

afterAll(async () => {
  // The store belongs to subordinate ids: only inside a namespace may this account remove it.
  const removal = { argv: ['rm', '-rf', root] as const, env: { PATH: path }, cwd: '/' };
  expect(await runConfined(removal, async () => {}, never)).toEqual({ status: 0 });
  await registry[Symbol.asyncDispose]();
});

const options = (clock: ManualClock): BuildahOptions => ({
  home: join(root, 'home'),
  path,
  ...account,
  clock,
});

const makeSubject = async () => {
  const clock = new ManualClock(Date.now());
  return {
    clock,
    engine: new BuildahEngine(options(clock)),
    registry: registry.host,
    deadRegistry,
    folder: await mkdtemp(join(root, 'test-')),
    dockerfiles: {
      good: step('echo hello > /greeting'),
      failing: step('echo before; exit 3'),
      chatty: step(`yes ${'chatter'.repeat(10)} | head -c 5000000; : ${Math.random()}`),
      endless: step(`echo started; sleep ${hangMark}`),
    },
    furnish,
    leftovers,
  };
};

const base = 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n';
const step = (command: string) => `${base}RUN ${command}\n`;

async function furnish(contextDir: string): Promise<void> {
  await copyFile('/bin/busybox', join(contextDir, 'busybox'));
  await chmod(join(contextDir, 'busybox'), 0o755);
}

async function leftovers(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
    if (command.includes(hangMark) || command.includes(join(root, 'home'))) found.push(`${pid} ${command}`);
  }
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return [...found, ...mounts.split('\n').filter((line) => line.includes(root))];
}

async function build(dockerfile: string, changes: Partial<EngineBuild> = {}) {
  const subject = await makeSubject();
  const request = { ...(await workspace(subject, dockerfile)), ...changes };
  const events = new Recorder();
  const image = await subject.engine.build(request, events, never);
  return { subject, request, image, output: events.text, phases: events.phases };
}

async function configOf(
  subject: Awaited<ReturnType<typeof makeSubject>>,
  request: EngineBuild,
  image: BuiltImage,
  repository = 'suite/config',
): Promise<Record<string, unknown>> {
  const place = target(subject, request, repository);
  const pushed = await subject.engine.push(image, place, new Recorder(), never);
  const { manifest } = await served(registry.host, repository, pushed.digest, pushed.mediaType);
  const blob = await fetch(`http://${registry.host}/v2/${repository}/blobs/${manifest.config.digest}`);
  const { config }: { config: Record<string, unknown> } = JSON.parse(await blob.text());
  return config;
}

async function failedBuild(dockerfile: string, changes: Partial<EngineBuild> = {}) {
  const subject = await makeSubject();
  const request = { ...(await workspace(subject, dockerfile)), ...changes };
  return await failure(subject.engine.build(request, new Recorder(), never));
}

engineSuite('buildah', makeSubject);

describe('RUN steps', () => {
  it('see no process of the machine', async () => {
    const { output } = await build(
      step(`ls -d /proc/[0-9]* | wc -l | sed 's/^/processes: /'; : ${Math.random()}`),
    );
    const seen = Number(/^processes: (\d+)$/m.exec(output)?.[1]);
    expect(seen).toBeGreaterThan(0);
    expect(seen).toBeLessThanOrEqual(5);
  });

  it('cannot reach what listens on the loopback of the machine', async () => {
    let reached = 0;
    const server = createServer((_request, response) => {
      reached += 1;
      response.end('secret');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('secret');
    const ask = ['127.0.0.1', '10.0.2.2', 'localhost'].map(
      (host) => `wget -T 2 -O - http://${host}:${port}/ || true`,
    );
    const { output } = await build(step(ask.join('; ')));
    server.close();
    expect(output).toContain('STEP 4/4');
    expect(output).not.toContain('secret');
    expect(reached).toBe(1);
  });

  it('run under a seccomp filter, with root’s id meaning nothing outside', async () => {
    const { output } = await build(
      step(`grep Seccomp: /proc/self/status; cat /proc/self/uid_map; : ${Math.random()}`),
    );
    expect(output).toMatch(/^Seccomp:\s+2$/m);
    expect(output).toMatch(new RegExp(`^\\s+0\\s+${account.uid}\\s+1$`, 'm'));
  });

  it('get build arguments and secrets, which stand in no process list', async () => {
    const subject = await makeSubject();
    const value = `hidden-${Math.random()}`;
    const file = join(subject.folder, 'secret');
    await writeFile(file, `file-${value}`, { mode: 0o600 });
    const plain = await workspace(
      subject,
      `${base}ARG TOKEN\nARG PATH_LIKE\nARG LD_PRELOAD\nRUN --mount=type=secret,id=key echo "$TOKEN" "$LD_PRELOAD" $(cat /run/secrets/key); echo started; sleep 2\n`,
    );
    const request: EngineBuild = {
      ...plain,
      buildArgs: new Map([
        ['TOKEN', value],
        ['LD_PRELOAD', '/not/loaded.so'],
      ]),
      secrets: [{ id: 'key', path: file }],
      pullCredentials: [{ registry: 'registry.example', username: 'robot', password: value }],
    };
    let lists = '';
    const events = new Recorder();
    const write = async (bytes: Buffer) => {
      await events.write(bytes);
      if (!bytes.includes('started')) return;
      for (const pid of await readdir('/proc')) {
        if (/^\d+$/.test(pid)) lists += await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      }
    };
    await subject.engine.build(request, { write }, never);
    expect(events.text).toContain(`${value} /not/loaded.so file-${value}`);
    expect(events.text).not.toContain('cannot be preloaded');
    expect(lists).toContain('buildah');
    expect(lists).not.toContain(value);
  });
});

describe('the layer cache', () => {
  it('is used for every step of a second run, whatever the mtimes of the context', async () => {
    const dockerfile = `${base}COPY folder /folder\nRUN cat /folder/* > /all-${Math.random()}\n`;
    const subject = await makeSubject();
    const outputs: string[] = [];
    for (const year of [2001, 2020]) {
      const request = await workspace(subject, dockerfile);
      const folder = join(request.contextDir, 'folder');
      await mkdir(folder);
      for (const name of ['a', 'b']) {
        await writeFile(join(folder, name), name);
        await utimes(join(folder, name), new Date(`${year}-01-01`), new Date(`${year}-01-01`));
      }
      const events = new Recorder();
      await subject.engine.build(request, events, never);
      outputs.push(events.text);
    }
    expect(outputs[1]?.match(/^STEP /gm)).toHaveLength(5);
    // FROM is no layer.
    expect(outputs[1]?.match(/^--> Using cache /gm)).toHaveLength(4);
  });

  it('is shared by builds that run at once', async () => {
    const outputs = await Promise.all(
      [1, 2, 3, 4].map(
        async (which) => (await build(step(`echo parallel-${which}; sleep 1; : ${Math.random()}`))).output,
      ),
    );
    outputs.forEach((output, at) => {
      expect(output).toContain(`parallel-${at + 1}\n`);
    });
  });
});

describe('images', () => {
  it('keep HEALTHCHECK, ONBUILD and SHELL, and can be the base of another build', async () => {
    const label = `b${Math.random()}`.replace('.', '');
    const first = await build(
      `${base}HEALTHCHECK CMD true\nSHELL ["/bin/sh", "-e", "-c"]\nONBUILD RUN echo triggered > /triggered\nLABEL which=${label}\n`,
    );
    const config = await configOf(first.subject, first.request, first.image, `suite/${label}`);
    expect(config.Healthcheck).toEqual({ Test: ['CMD-SHELL', 'true'] });
    expect(config.OnBuild).toEqual(['RUN echo triggered > /triggered']);
    expect(config.Shell).toEqual(['/bin/sh', '-e', '-c']);

    const derived = `FROM ${registry.host}/suite/${label}:slipway-suite\nRUN cat /triggered\n`;
    const second = await build(derived);
    expect(second.phases).toEqual(['pulling', 'building']);
    expect(second.output).toContain('\ntriggered\n');
    const third = await build(derived);
    expect(third.output.match(/^--> Using cache /gm)?.length).toBe(2);
  });

  it('that one build pulled or built are not given to another that names them', async () => {
    const label = `b${Math.random()}`.replace('.', '');
    const first = await build(step(`echo private > /${label}`));
    const place = target(first.subject, first.request, `suite/${label}`);
    await first.subject.engine.push(first.image, place, new Recorder(), never);
    const reference = `${registry.host}/suite/${label}:${place.tag}`;
    // Pulled, so that the store knows it by its name.
    await build(`FROM ${reference}\nRUN cat /${label}\n`);

    const id = first.image.imageId.slice('sha256:'.length);
    for (const image of [
      id,
      id.slice(0, 12),
      `containers-storage:${reference}`,
      `containers-storage:@${id}`,
    ]) {
      const error = await failedBuild(`ARG IMAGE=${image}\nFROM $IMAGE\nRUN cat /${label}\n`);
      expect(error.owner, `${image}: ${error.message}`).toBe('user');
    }
  });

  it('are built stage by stage at once, and each line says its stage', async () => {
    const { output } = await build(
      `FROM scratch AS one\nCOPY busybox /bin/sh\nRUN echo first > /first\nFROM scratch AS two\nCOPY busybox /bin/sh\nRUN echo second > /second; : ${Math.random()}\n` +
        'FROM scratch\nCOPY --from=one /first /first\nCOPY --from=two /second /second\n',
    );
    expect(output).toMatch(/^\[1\/3\] STEP 3\/3: RUN echo first/m);
    expect(output).toMatch(/^\[3\/3\] STEP 3\/3: COPY --from=two/m);
  });

  it('take a target and labels', async () => {
    const { subject, request, image, output } = await build(
      `${base.replace('scratch', 'scratch AS wanted')}FROM scratch\nRUN fails\n`,
      { target: 'wanted', labels: new Map([['org.example.note', 'a "quoted" = word']]) },
    );
    expect(output).not.toContain('RUN fails');
    expect((await configOf(subject, request, image)).Labels).toMatchObject({
      'org.example.note': 'a "quoted" = word',
    });
  });
});

describe('failures', () => {
  it.each([
    ['a program that is not there', 'FROM scratch\nCOPY busybox /x\nRUN echo hi\n', 'builderror', '/bin/sh'],
    ['a missing file', `${base}COPY no-such-file /x\n`, 'builderror', 'no-such-file'],
    ['a missing pattern', `${base}COPY no-such/*.txt /x/\n`, 'builderror', 'no-such/*.txt'],
    ['a file outside the context', `${base}COPY ../../etc/passwd /x\n`, 'builderror', 'etc/passwd'],
    [
      'a file missing in a stage',
      `${base.replace('scratch', 'scratch AS one')}FROM scratch\nCOPY --from=one /gone /x\n`,
      'builderror',
      'gone is not in one',
    ],
    ['an unknown stage', `${base}COPY --from=nowhere /x /x\n`, 'dockerfileissue', 'nowhere'],
    ['a user that does not exist', `${base}USER nobody-here\nRUN id\n`, 'builderror', 'nobody-here'],
    ['an unknown flag', `${base}COPY --fast=1 busybox /x\n`, 'dockerfileissue', 'COPY'],
    ['a flag of newer engines', `${base}RUN --network=host id\n`, 'dockerfileissue', 'RUN'],
    ['a here-document', `${base}RUN <<EOF\necho hi\nEOF\n`, 'dockerfileissue', '1.33'],
    ['a base image in a folder', 'FROM dir:/etc\n', 'dockerfileissue', 'dir:'],
    ['a base image in a folder, hidden in ARG', 'ARG B=oci:/etc\nFROM $B\n', 'dockerfileissue', ''],
    ['an invalid name', 'FROM Upper/Case:a:b\n', 'dockerfileissue', 'invalid reference format'],
    ['an ARG without value', 'ARG B\nFROM $B\n', 'dockerfileissue', 'FROM'],
    ['an unknown registry', 'FROM registry.invalid/a/b:1\n', 'cannotpullbaseimage', 'registry.invalid/a/b:1'],
  ])('explain %s', async (_what, dockerfile, code, words) => {
    const error = await failedBuild(dockerfile);
    expect(error.code, error.message).toBe(code);
    expect(error.message).toContain(words);
    expect(error.owner).toBe('user');
  });

  it('tell a base image that does not exist from one that needs credentials', async () => {
    const missing = await failedBuild(`FROM ${registry.host}/no/such:7\n`);
    expect(missing.code).toBe('cannotpullbaseimage');
    expect(missing.message).toContain(`${registry.host}/no/such:7 does not exist`);

    const asked: (string | undefined)[] = [];
    const guard = createServer((request, response) => {
      asked.push(request.headers.authorization);
      response
        .writeHead(401, { 'www-authenticate': 'Basic realm="private"' })
        .end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    });
    guard.listen(0, '127.0.0.1');
    await once(guard, 'listening');
    const address = guard.address();
    const host = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const hidden = await failedBuild(`FROM ${host}/private/app:1\n`, {
      insecureRegistries: [host],
      pullCredentials: [{ registry: host, username: 'robot', password: 'pw' }],
    });
    guard.close();
    expect(hidden.code).toBe('cannotpullbaseimage');
    expect(hidden.message).toContain(`${host}/private/app:1 needs credentials`);
    expect(asked).toContain(`Basic ${Buffer.from('robot:pw').toString('base64')}`);
  });

  it('are the registry’s when the registry of the base image is down', async () => {
    const error = await failedBuild(`FROM ${deadRegistry}/a/b:1\n`, { insecureRegistries: [deadRegistry] });
    expect({ code: error.code, owner: error.owner }).toEqual({
      code: 'baseimageregistry',
      owner: 'infrastructure',
    });
    expect(error.message).toContain(deadRegistry);
  });

  it('leave no working container in the store', async () => {
    const { engine } = await makeSubject();
    // Those of other tests, which were killed on purpose.
    await engine.clean({ unusedFor: 24 * 3600_000, minimumFree: 0 }, never);
    await failedBuild(step(`echo failing; exit 3`));
    expect(await engine.clean({ unusedFor: 24 * 3600_000, minimumFree: 0 }, never)).toMatchObject({
      removedLeftovers: 0,
      busy: false,
    });
  });

  it('cannot be forged by what a step prints', async () => {
    const error = await failedBuild(
      step(`echo 'Error: write: no space left on device'; echo 'Error: killed'; exit 4`),
    );
    expect(error.code).toBe('builderror');
    expect(error.message).toContain('exit status 4');
  });
});

describe('chroot isolation', () => {
  it('builds, says what it shares, and reports failing steps alike', async () => {
    const subject = await makeSubject();
    // buildah starts itself anew in the chroot with an empty environment, and then makes these.
    const strays = ['containers-user', 'podman-run'].map((name) => join(tmpdir(), `${name}-${account.uid}`));
    const ours = strays.filter((stray) => !existsSync(stray));
    onTestFinished(async () => {
      for (const stray of ours) await rm(stray, { recursive: true, force: true });
    });
    const engine = new BuildahEngine({ ...options(subject.clock), isolation: 'chroot' });
    const report = await engine.probe(never);
    expect(report.isolation).toBe('chroot');
    expect(report.warnings.join()).toContain('network');
    const good = await workspace(subject, step(`echo in chroot; : ${Math.random()}`));
    await engine.build(good, new Recorder(), never);
    const bad = await workspace(subject, step(`exit 3; : ${Math.random()}`));
    const error = await failure(engine.build(bad, new Recorder(), never));
    expect(error.code).toBe('builderror');
    expect(error.message).toContain('exit status 3');
  });
});

describe('a registry that is down while pushing', () => {
  it('is tried again until it is back', async () => {
    const { subject, request, image } = await build(step('echo hello > /greeting'));
    const port = await freePort();
    const back = { ...target(subject, request), registry: `127.0.0.1:${port}` };
    const events = new Recorder();
    let restarting: ReturnType<typeof startRegistry> | undefined;
    const write = async (bytes: Buffer) => {
      await events.write(bytes);
      if (bytes.includes('trying again')) {
        restarting ??= startRegistry({ port });
        await restarting;
      }
    };
    const pushed = await withTimePassing(subject.clock, subject.engine.push(image, back, { write }, never));
    expect(events.text).toContain('1 of 6');
    expect((await served(back.registry, 'suite/app', pushed.digest, pushed.mediaType)).digest).toBe(
      pushed.digest,
    );
    await (await restarting)?.[Symbol.asyncDispose]();
  });
});

describe('kill -9', () => {
  it('of the engine is an infrastructure failure, and the next build works', async () => {
    const subject = await makeSubject();
    const request = await workspace(subject, subject.dockerfiles.endless);
    const write = async (bytes: Buffer) => {
      if (!bytes.includes('started\n')) return;
      const victim = (await leftovers()).find((line) => / unshare /.test(` ${line}`));
      process.kill(Number(victim?.split(' ')[0]), 'SIGKILL');
    };
    const error = await failure(subject.engine.build(request, { write }, never));
    expect({ code: error.code, owner: error.owner }).toEqual({
      code: 'enginefailed',
      owner: 'infrastructure',
    });
    expect(await leftovers()).toEqual([]);
    expect((await build(step(`echo alive ${Math.random()}`))).output).toContain('alive');
  });

  it('of the worker ends its engine within a second, and the next build works', async () => {
    const subject = await makeSubject();
    const request = await workspace(subject, subject.dockerfiles.endless);
    const worker = spawn(
      process.execPath,
      [
        fileURLToPath(new URL('./engine.suite-worker.ts', import.meta.url)),
        JSON.stringify({ ...options(subject.clock), request: { ...request, buildArgs: [], labels: [] } }),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    for await (const bytes of worker.stdout) if (String(bytes).includes('started\n')) break;
    expect(await leftovers()).not.toEqual([]);
    worker.kill('SIGKILL');
    const killed = Date.now();
    while ((await leftovers()).length > 0 && Date.now() - killed < 5000) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(Date.now() - killed).toBeLessThan(1000);
    expect((await build(step(`echo alive ${Math.random()}`))).output).toContain('alive');
  });
});

describe('cleaning', () => {
  const day = 24 * 3600_000;

  it('does nothing while a build runs', async () => {
    const subject = await makeSubject();
    const request = await workspace(subject, subject.dockerfiles.endless);
    const cancel = new AbortController();
    let cleaned: unknown;
    const write = async (bytes: Buffer) => {
      if (!bytes.includes('started\n')) return;
      cleaned = await new BuildahEngine(options(subject.clock)).clean(
        { unusedFor: 0, minimumFree: 1 },
        never,
      );
      cancel.abort();
    };
    await failure(subject.engine.build(request, { write }, cancel.signal));
    expect(cleaned).toMatchObject({ busy: true, removedImages: 0 });
  });

  it('removes what was unused for long, and keeps what a build used lately', async () => {
    const clock = new ManualClock(Date.now());
    const engine = new BuildahEngine({ ...options(clock), home: join(root, 'home-clean') });
    const subject = { ...(await makeSubject()), clock, engine };
    const run = async (dockerfile: string) => {
      const events = new Recorder();
      await engine.build(await workspace(subject, dockerfile), events, never);
      return events.text;
    };
    const kept = step('echo kept > /kept');
    const old = step('echo old > /old');
    await run(kept);
    await run(old);
    await clock.advance(2 * day);
    expect(await run(kept)).toContain('Using cache');
    const report = await engine.clean({ unusedFor: day, minimumFree: 0 }, never);
    expect(report).toMatchObject({ removedImages: 1, busy: false });
    expect((await run(kept)).match(/Using cache/g)).toHaveLength(3);
    expect((await run(old)).match(/Using cache/g)).toHaveLength(2);
    // Without room on the disk, age does not count.
    expect((await engine.clean({ unusedFor: day, minimumFree: 1 }, never)).removedImages).toBe(4);
    expect((await run(kept)).match(/Using cache/g)).toBeNull();
  });

  it('removes what killed builds have left, files of other ids included', async () => {
    const left = join(root, 'home', 'tmp', 'buildah-left');
    const making = `mkdir -p ${left}/deep && touch ${left}/deep/file && chmod 700 ${left}/deep && chown -R 7:7 ${left}`;
    await runConfined({ argv: ['sh', '-c', making], env: { PATH: path }, cwd: '/' }, async () => {}, never);
    await expect(rm(left, { recursive: true })).rejects.toMatchObject({ code: 'EACCES' });
    const subject = await makeSubject();
    const cancel = new AbortController();
    const events = new Recorder((text) => {
      if (/^started/m.test(text)) cancel.abort();
    });
    await failure(
      subject.engine.build(await workspace(subject, subject.dockerfiles.endless), events, cancel.signal),
    );
    const report = await subject.engine.clean({ unusedFor: day, minimumFree: 0 }, never);
    expect(report.removedLeftovers).toBeGreaterThan(0);
    const remaining = await readdir(join(root, 'home', 'tmp'));
    expect(remaining.filter((name) => !name.startsWith('buildah-cache'))).toEqual([]);
  });
});
