import { rm } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import type { ReceivedBuildPack } from '../rpc/build-pack.ts';
import { type BuildFiles, findBuildFiles } from './source/dockerfile-in-context.ts';
import { extractPackage } from './source/extract.ts';
import { fetchPackage } from './source/fetch-package.ts';
import type { Workspace } from './workspace.ts';

export interface FetchSourceOptions {
  readonly pack: ReceivedBuildPack;
  readonly workspace: Workspace;
  readonly clock: Clock;
  readonly say: (text: string) => Promise<void>;
  readonly signal: AbortSignal;
}

export interface FetchedSource extends BuildFiles {
  /** What was checked out, of a git source. */
  readonly commit?: string;
}

/** Gets the source into the workspace and finds what to build in it. Throws SourceError. */
export async function fetchSource(options: FetchSourceOptions): Promise<FetchedSource> {
  const { pack, workspace } = options;
  if (pack.source.kind === 'package') await unpack(options, pack.source);
  const files = await findBuildFiles({
    root: workspace.source,
    context: pack.context,
    dockerfilePath: pack.dockerfilePath,
  });
  return files;
}

async function unpack(
  { pack, workspace, clock, say, signal }: FetchSourceOptions,
  source: ReceivedBuildPack['source'] & { kind: 'package' },
): Promise<void> {
  const maxBytes = pack.maxSourceBytes;
  // Slipway's own address was chosen by nobody outside, and may well be a private one.
  const policy = source.ours
    ? new EgressPolicy({ allowHosts: [new URL(source.url).host] })
    : policyFor(pack.allowedPrivateHosts);
  const { contentType } = await fetchPackage({
    url: source.url,
    origin: source.ours ? 'own' : 'user',
    guard: new EgressGuard(policy),
    file: workspace.package,
    clock,
    signal,
    onRetry: (reason, wait) => {
      void say(
        `The source could not be downloaded yet (${reason}); trying again in ${Math.ceil(wait / 1000)} s.`,
      );
    },
    ...(maxBytes > 0 ? { maxBytes } : {}),
  });
  await extractPackage({
    file: workspace.package,
    contentType,
    root: workspace.source,
    signal,
    ...(maxBytes > 0 ? { limits: { maxBytes } } : {}),
  });
  await rm(workspace.package, { force: true });
}

/** Entries with a mask length are address ranges, all others hosts. */
function policyFor(allowed: readonly string[]): EgressPolicy {
  const isRange = (entry: string): boolean => /\/\d+$/.test(entry);
  return new EgressPolicy({
    allowCidrs: allowed.filter(isRange),
    allowHosts: allowed.filter((entry) => !isRange(entry)),
  });
}
