import { createHash } from 'node:crypto';
import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../base/clock.ts';
import { build } from '../cli/build.ts';
import { type ExitStatus, exitStatus } from '../cli/cli-error.ts';
import { type BuildView, Client } from '../cli/client.ts';
import { formatBytes, formatSpan } from '../cli/format.ts';
import { paint, printLine, type Terminal } from '../cli/terminal.ts';
import { type Digest, parseDigest } from '../model/digest.ts';
import { escapeTag } from '../model/tag.ts';
import { OciClient } from '../registry/oci-client.ts';
import { parseManifest } from '../registry/oci-manifest.ts';
import { startEmbeddedServer } from './embedded-server.ts';
import type { ProcessEnvironment } from './environment.ts';
import { catchSignals } from './signals.ts';

export interface DemoFlags {
  readonly exit?: boolean;
  readonly data: string;
  readonly port?: number;
}

const repository = 'admin/hello';
const usualPort = 8080;

/** From nothing to an image in a registry: sets up, serves, builds examples/hello, pulls it back, and says what happened. */
export async function demo(
  environment: ProcessEnvironment,
  terminal: Terminal,
  flags: DemoFlags,
): Promise<ExitStatus> {
  const started = performance.now();
  const say = (line = '') => printLine(terminal.stdout, line);
  say(paint(terminal, 'bold', 'Slipway demo: from a Dockerfile to an image in a registry'));
  const signals = catchSignals();
  const server = await startEmbeddedServer(environment, {
    data: flags.data,
    host: '127.0.0.1',
    port: flags.port ?? ((await isFree(usualPort)) ? usualPort : 0),
    drain: 0,
    setup: true,
    report: say,
  });
  const context = await mkdtemp(join(tmpdir(), 'slipway-hello-'));
  try {
    say(`The server is ready at ${server.url} after ${formatSpan(performance.now() - started)}.`);
    say();
    // What a person would do next: log in, and build. The token is the one `up` keeps in the profile.
    const asAdmin: Terminal = {
      ...terminal,
      server: server.url,
      token: server.token,
      // Ctrl-C ends the demo, with the server and all it runs.
      onInterrupt: () => () => {},
    };
    const buildStarted = performance.now();
    const status = await Promise.race([buildExample(environment, asAdmin, context), signals.first]);
    const took = performance.now() - buildStarted;
    if (typeof status === 'string') return exitStatus.interrupted;
    if (status !== exitStatus.ok) return status;
    const verified = await pullBack(server.url, server.token);
    say();
    say(paint(terminal, 'bold', 'Pulled back from the registry and checked byte by byte'));
    say(`  image   ${new URL(server.url).host}/${repository}:latest`);
    say(`  digest  ${verified.digest}`);
    say(`  size    ${formatBytes(verified.bytes)} in ${verified.layers} layers`);
    say(`  built   in ${formatSpan(took)}; everything took ${formatSpan(performance.now() - started)}`);
    say(`  URL     ${server.url}`);
    if (verified.digest !== verified.reported) {
      printLine(
        terminal.stderr,
        paint(
          terminal,
          'red',
          `The build reported ${verified.reported}, but the registry serves ${verified.digest}.`,
        ),
      );
      return exitStatus.internal;
    }
    if (flags.exit) return exitStatus.ok;
    say();
    if (server.adminPassword !== undefined)
      say(`An administrator was made: admin, password ${server.adminPassword} (shown only now).`);
    say('The server keeps running until you press Ctrl-C. Meanwhile, in another terminal:');
    say(`  ./slipway builds`);
    say(`  ./slipway build DIR --repo admin/NAME`);
    say(`  open ${server.url}/api/v1/docs`);
    const before = await readFile(terminal.profileFile).catch(() => undefined);
    await server.writeProfile(terminal.profileFile);
    try {
      await signals.first;
    } finally {
      // The demo is over: later commands talk to the server they talked to before.
      if (before === undefined) await rm(terminal.profileFile, { force: true });
      else await writeFile(terminal.profileFile, before, { mode: 0o600 });
    }
    return exitStatus.ok;
  } finally {
    await server.stop();
    await rm(context, { recursive: true, force: true });
  }
}

/** The example needs a static busybox beside its Dockerfile; it is put there in a copy, `folder`. */
async function buildExample(
  environment: ProcessEnvironment,
  terminal: Terminal,
  folder: string,
): Promise<ExitStatus> {
  await cp(join(environment.installation, 'examples/hello'), folder, { recursive: true });
  await copyFile('/bin/busybox', join(folder, 'busybox'));
  return await build(terminal, folder, { repo: repository, tag: ['latest'], cache: true, push: true });
}

interface PulledImage {
  /** Of the manifest as the registry serves it under the tag. */
  readonly digest: Digest;
  /** What the build said. */
  readonly reported: string;
  readonly bytes: number;
  readonly layers: number;
}

/** Pulls the manifest, the config and every layer, and checks each against its digest. */
async function pullBack(url: string, token: string): Promise<PulledImage> {
  const { builds } = await new Client(url, `Bearer ${token}`).get<{ builds: BuildView[] }>(
    `/api/v1/repository/${repository}/build/?limit=1`,
  );
  const signal = AbortSignal.timeout(60_000);
  const registry = new OciClient({
    endpoint: { kind: 'network', host: new URL(url).host, security: 'http' },
    credentials: { kind: 'password', username: '$oauthtoken', password: token },
    clock: systemClock,
  });
  const stored = await registry.getManifest(repository, escapeTag('latest'), signal);
  const manifest = parseManifest(stored);
  if (manifest.kind !== 'image')
    throw new Error(`expected an image, the registry serves an index (${stored.mediaType})`);
  let bytes = 0;
  for (const { digest, size } of [manifest.config, ...manifest.layers]) {
    const hash = createHash('sha256');
    const { stream } = await registry.getBlob(repository, digest, signal);
    for await (const chunk of stream) hash.update(chunk as Buffer);
    if (parseDigest(`sha256:${hash.digest('hex')}`) !== digest)
      throw new Error(`blob ${digest} came back with other bytes`);
    bytes += size;
  }
  return {
    digest: stored.digest,
    reported: builds[0]?.digest ?? 'nothing',
    bytes,
    layers: manifest.layers.length,
  };
}

async function isFree(port: number): Promise<boolean> {
  const probe = createServer();
  return await new Promise((resolve) => {
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
