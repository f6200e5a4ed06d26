import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import type { EgressGuard } from '../../egress/egress-guard.ts';
import type { HostKey } from '../../model/host-key.ts';
import type { GitCredentials } from '../../model/source-credentials.ts';
import { type BuildFiles, findBuildFiles } from './dockerfile-in-context.ts';
import { extractPackage } from './extract.ts';
import { fetchGit } from './fetch-git.ts';
import { fetchPackage } from './fetch-package.ts';
import { removeTree } from './remove-tree.ts';
import type { SourceLimits } from './source-limits.ts';

/** Where a build's source comes from; a package of `own` origin lies on Slipway's server. */
export type SourceOrigin =
  | { readonly kind: 'package'; readonly url: string; readonly origin: 'own' | 'user' }
  | {
      readonly kind: 'git';
      readonly url: string;
      readonly ref: string;
      /** Wins over `ref`; its first digits do. */
      readonly commit?: string;
      readonly credentials?: GitCredentials;
      readonly username?: string;
      readonly lfs?: boolean;
    };

export interface ObtainSourceOptions {
  readonly from: SourceOrigin;
  /** In the build pack's form: `context` from the source's root, `dockerfilePath` relative to it. */
  readonly context: string;
  readonly dockerfilePath: string;
  /** The attempt's folder, closed to other accounts. `source` is made in it, and what is needed meanwhile. */
  readonly workspace: string;
  /** For a package of `own` origin it must allow Slipway's server. */
  readonly guard: EgressGuard;
  readonly limits?: Partial<SourceLimits>;
  /** Bytes of a package, as it is sent. */
  readonly maxPackageBytes?: number;
  readonly keepGit?: boolean;
  /** Of SSH servers that were seen before, and told of each that was not. */
  readonly hostKeys?: readonly HostKey[];
  readonly onHostKey?: (key: HostKey) => void;
  readonly clock?: Clock;
  readonly signal?: AbortSignal;
  /** For the build's log, a line at a time, without secrets. */
  readonly onLine?: (line: string) => void;
}

export interface ObtainedSource extends BuildFiles {
  /** Files, folders and links of the source, and the bytes of its files. */
  readonly entries: number;
  readonly bytes: number;
  /** The commit that was checked out, for git. */
  readonly commit?: string;
}

/** Fetches and unpacks a source and finds the Dockerfile in it. Throws SourceError. */
export async function obtainSource(options: ObtainSourceOptions): Promise<ObtainedSource> {
  const root = join(options.workspace, 'source');
  const { context, dockerfilePath } = options;
  const fetched = await fetchInto(root, options);
  return { ...(await findBuildFiles({ root, context, dockerfilePath })), ...fetched };
}

async function fetchInto(
  root: string,
  options: ObtainSourceOptions,
): Promise<Omit<ObtainedSource, keyof BuildFiles>> {
  const { from, guard, workspace, limits, signal, onLine } = options;
  const common = { ...(limits === undefined ? {} : { limits }), ...(signal === undefined ? {} : { signal }) };
  switch (from.kind) {
    case 'package': {
      const file = join(workspace, 'package');
      try {
        const { contentType } = await fetchPackage({
          url: from.url,
          origin: from.origin,
          guard,
          file,
          ...(options.maxPackageBytes === undefined ? {} : { maxBytes: options.maxPackageBytes }),
          ...(options.clock === undefined ? {} : { clock: options.clock }),
          ...common,
          onRetry: (reason, milliseconds) =>
            onLine?.(`${reason} Trying again in ${Math.ceil(milliseconds / 1000)} s.`),
        });
        const { entries, bytes } = await extractPackage({ file, contentType, root, ...common });
        return { entries, bytes };
      } finally {
        await rm(file, { force: true });
      }
    }
    case 'git':
      try {
        const { commit, entries, bytes } = await fetchGit({
          url: from.url,
          ref: from.ref,
          ...(from.commit === undefined ? {} : { commit: from.commit }),
          ...(from.credentials === undefined ? {} : { credentials: from.credentials }),
          ...(from.username === undefined ? {} : { username: from.username }),
          lfs: from.lfs ?? false,
          ...(options.hostKeys === undefined ? {} : { hostKeys: options.hostKeys }),
          ...(options.onHostKey === undefined ? {} : { onHostKey: options.onHostKey }),
          guard,
          root,
          scratch: workspace,
          keepGit: options.keepGit ?? false,
          ...(onLine === undefined ? {} : { onLine }),
          ...common,
        });
        return { commit, entries, bytes };
      } finally {
        // The key and git's data are of no use to the build, and nothing of it should see them.
        await removeTree(join(workspace, 'git'));
      }
  }
}
