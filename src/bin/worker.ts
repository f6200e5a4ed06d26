import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { isatty } from 'node:tty';
import { systemClock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { ManagerLink } from '../rpc/manager-link.ts';
import { type AgentResult, runAgent } from '../worker/agent.ts';
import { readWorkerConfig, type WorkerConfig } from '../worker/config.ts';
import type { Engine } from '../worker/engine/engine.ts';
import { bugStatus, environmentStatus, exitStatus } from '../worker/worker-end.ts';
import { Workspace } from '../worker/workspace.ts';

/**
 * The worker's own process: one attempt, then it exits (see worker-end.ts for the status). Its messages go to standard
 * error; what the build says goes to the manager.
 */
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
};

function say(text: string): void {
  process.stderr.write(`${new Date().toISOString()} worker: ${text}\n`);
}

/**
 * Without TOKEN in the environment, which others of the same user could read, the token comes on standard input.
 * `process.stdin` must not be touched: it would make the descriptor non-blocking, and the read fail when the token is
 * not there yet.
 */
function tokenFromInput(): string | undefined {
  return isatty(0) ? undefined : readFileSync(0, 'utf8');
}

function readConfig(): WorkerConfig {
  const config = readWorkerConfig(
    { ...process.env, TOKEN: process.env.TOKEN ?? tokenFromInput() },
    {
      home: process.env.HOME ?? homedir(),
      path: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    },
  );
  // No child of this process inherits it.
  delete process.env.TOKEN;
  return config;
}

async function loadEngine(config: WorkerConfig): Promise<Engine> {
  switch (config.engine) {
    case 'dummy': {
      const { DummyEngine } = await import('../worker/engine/dummy.ts');
      return new DummyEngine({ clock: systemClock });
    }
    case 'auto':
    case 'buildah': {
      const { BuildahEngine } = await import('../worker/engine/buildah.ts');
      return new BuildahEngine({
        home: config.stateFolder,
        path: config.path,
        uid: process.getuid?.() ?? 0,
        gid: process.getgid?.() ?? 0,
        clock: systemClock,
        isolation: config.isolation,
        extraEnv: config.network,
      });
    }
    default: {
      const { EngineError } = await import('../worker/engine/engine-error.ts');
      throw new EngineError(
        'enginemissing',
        `This worker cannot build with ${config.engine}. Set BUILD_ENGINE to auto, buildah or dummy.`,
      );
    }
  }
}

/** The authorities to trust: those of the file, and those that were given as text. */
async function readAuthorities(tls: NonNullable<WorkerConfig['tls']>): Promise<{ readonly ca?: Buffer }> {
  const parts: string[] = [];
  if (tls.caFile !== undefined) parts.push(await readFile(tls.caFile, 'utf8'));
  if (tls.ca !== undefined) parts.push(tls.ca);
  return parts.length === 0 ? {} : { ca: Buffer.from(parts.join('\n')) };
}

async function work(config: WorkerConfig): Promise<AgentResult> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => {
      say(`${signal}: stopping`);
      stop.abort();
    });
  }
  const link = new ManagerLink({
    server: config.server,
    clock: systemClock,
    log: say,
    ...(config.tls === undefined ? {} : { tls: await readAuthorities(config.tls) }),
  });
  return await runAgent(
    {
      link,
      registrationToken: config.token,
      capabilities: {
        version,
        logBatches: true,
        pushesByDigest: true,
        engine: config.engine === 'auto' ? 'buildah' : config.engine,
        platform: `linux/${architectures[process.arch] ?? process.arch}`,
      },
      loadEngine: () => loadEngine(config),
      makeWorkspace: () => Workspace.create(config.workspace, tmpdir()),
      keepWorkspace: config.debug,
      clock: systemClock,
      log: say,
    },
    stop.signal,
  );
}

/** Node's names for what images call their architecture. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };

// A log that cannot be written is no reason to lose a build.
process.stderr.on('error', () => {});
// Also a promise nobody waited for. The engine dies with this process; the executor removes the workspace.
process.on('uncaughtException', (thrown) => {
  say(`failed, which is a fault of Slipway: ${thrown.stack ?? messageOf(thrown)}`);
  process.exit(bugStatus);
});

try {
  const { end, registered } = await work(readConfig());
  if (end.kind === 'released') say(end.reason.message);
  process.exitCode = exitStatus(end, registered);
} catch (thrown) {
  say(messageOf(thrown));
  process.exitCode = environmentStatus;
}
// Everything is closed by now; a socket that lingers is no reason to.
process.stderr.write('', () => process.exit());
