import { homedir } from 'node:os';
import { systemClock } from '../base/clock.ts';
import { messageOf } from '../base/coded-error.ts';
import { BuildahEngine } from '../worker/engine/buildah.ts';
import type { CleanPolicy } from '../worker/engine/engine.ts';

/**
 * Gives disk of the build engine's store back, once, then exits: 0 with a report in JSON on standard output, or 1 with
 * the reason on standard error. The server runs it as the account of the workers, whose store it is, between builds.
 *
 *     SLIPWAY_STATE_DIR     the engine's home, as workers have it
 *     SLIPWAY_CLEAN_POLICY  { "unusedFor": milliseconds, "minimumFree": 0 to 1 }
 */
function readPolicy(): CleanPolicy {
  const { unusedFor, minimumFree } = JSON.parse(
    process.env.SLIPWAY_CLEAN_POLICY ?? '{}',
  ) as Partial<CleanPolicy>;
  if (typeof unusedFor !== 'number' || typeof minimumFree !== 'number')
    throw new TypeError('SLIPWAY_CLEAN_POLICY must give unusedFor and minimumFree.');
  return { unusedFor, minimumFree };
}

const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());

try {
  const engine = new BuildahEngine({
    home: process.env.SLIPWAY_STATE_DIR ?? `${homedir()}/.local/share/slipway-worker`,
    path: process.env.PATH ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    clock: systemClock,
  });
  process.stdout.write(`${JSON.stringify(await engine.clean(readPolicy(), stop.signal))}\n`);
} catch (thrown) {
  process.stderr.write(`${messageOf(thrown)}\n`);
  process.exitCode = 1;
}
