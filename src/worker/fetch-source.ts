import type { Clock } from '../base/clock.ts';
import { EgressGuard } from '../egress/egress-guard.ts';
import { EgressPolicy } from '../egress/egress-policy.ts';
import { fingerprintOf, type HostKey } from '../model/host-key.ts';
import type { ReceivedBuildPack } from '../rpc/build-pack.ts';
import { type ObtainedSource, obtainSource, type SourceOrigin } from './source/obtain-source.ts';
import type { Workspace } from './workspace.ts';

export interface FetchSourceOptions {
  readonly pack: ReceivedBuildPack;
  readonly workspace: Workspace;
  readonly clock: Clock;
  readonly say: (text: string) => Promise<void>;
  /** Tells the manager of git servers that were seen for the first time. */
  readonly report: (gitHostKeys: readonly HostKey[]) => Promise<void>;
  readonly signal: AbortSignal;
}

/** Gets what the build pack names into the workspace and finds what to build in it. Throws SourceError. */
export async function fetchSource(options: FetchSourceOptions): Promise<ObtainedSource> {
  const { pack, workspace, clock, say, report, signal } = options;
  const maxBytes = pack.maxSourceBytes;
  const learned: HostKey[] = [];
  const onHostKey = (key: HostKey): void => {
    learned.push(key);
    void say(
      `${key.host}:${key.port} was not seen before. From now on its host key has to be ${fingerprintOf(key)} (${key.type}).`,
    );
  };
  const obtaining = obtainSource({
    from: originOf(pack.source),
    context: pack.context,
    dockerfilePath: pack.dockerfilePath,
    workspace: workspace.root,
    guard: new EgressGuard(policyFor(pack)),
    clock,
    signal,
    onLine: (line) => void say(line),
    ...(maxBytes > 0 ? { limits: { maxBytes }, maxPackageBytes: maxBytes } : {}),
    hostKeys: pack.gitHostKeys,
    onHostKey,
  });
  try {
    return await obtaining;
  } finally {
    // The server has proven that it has the key, whatever came of it. Told before anything of the build runs.
    if (learned.length > 0) await report(learned);
  }
}

function originOf(source: ReceivedBuildPack['source']): SourceOrigin {
  if (source.kind === 'package') {
    return { kind: 'package', url: source.url, origin: source.ours ? 'own' : 'user' };
  }
  const { url, sha, ref, privateKey, token, username, lfs } = source;
  return {
    kind: 'git',
    url,
    ref: ref ?? '',
    ...(sha === undefined ? {} : { commit: sha }),
    credentials: {
      ...(privateKey === undefined ? {} : { privateKey }),
      ...(token === undefined ? {} : { token }),
    },
    ...(username === undefined ? {} : { username }),
    lfs: lfs ?? false,
  };
}

/** What the source may be fetched from. */
function policyFor({ source, allowedPrivateHosts }: ReceivedBuildPack): EgressPolicy {
  // Slipway's own address was chosen by nobody outside, and may well be a private one.
  if (source.kind === 'package' && source.ours) {
    return new EgressPolicy({ allowHosts: [new URL(source.url).host] });
  }
  const isRange = (entry: string): boolean => /\/\d+$/.test(entry);
  return new EgressPolicy({
    allowCidrs: allowedPrivateHosts.filter(isRange),
    allowHosts: allowedPrivateHosts.filter((entry) => !isRange(entry)),
  });
}
