import { mkdir, rm } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import type { ReceivedBuildPack } from '../rpc/build-pack.ts';
import { type BuildFiles, findBuildFiles } from './source/dockerfile-in-context.ts';
import { extractPackage } from './source/extract.ts';
import { fetchGit } from './source/fetch-git.ts';
import { fetchPackage } from './source/fetch-package.ts';
import { removeTree } from './source/remove-tree.ts';
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
  const { source } = pack;
  const commit = source.kind === 'git' ? await checkOut(options, source) : {};
  if (source.kind === 'package') await unpack(options, source);
  const files = await findBuildFiles({
    root: workspace.source,
    context: pack.context,
    dockerfilePath: pack.dockerfilePath,
  });
  return { ...files, ...commit };
}

type Source<Kind> = Extract<ReceivedBuildPack['source'], { readonly kind: Kind }>;

async function checkOut(
  { pack, workspace, say, signal }: FetchSourceOptions,
  source: Source<'git'>,
): Promise<{ readonly commit: string }> {
  await mkdir(workspace.git, { mode: 0o700 });
  const { commit } = await fetchGit({
    url: source.url,
    ref: source.sha ?? source.ref ?? '',
    guard: new EgressGuard(policyFor(pack.allowedPrivateHosts)),
    root: workspace.source,
    scratch: workspace.git,
    signal,
    onLine: (line) => void say(line),
    ...(source.privateKey === undefined ? {} : { privateKey: source.privateKey }),
    ...(pack.maxSourceBytes > 0 ? { limits: { maxBytes: pack.maxSourceBytes } } : {}),
  });
  await removeTree(workspace.git);
  return { commit };
}

async function unpack(
  { pack, workspace, clock, say, signal }: FetchSourceOptions,
  source: Source<'package'>,
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
