import { type Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BuildSource } from '../../src/model/build.ts';
import { sealableCredentials } from '../../src/model/source-credentials.ts';
import {
  BuildManagerClient,
  type BuildPack,
  type GitHostKey,
  Phase,
  type SetPhaseResponse,
} from '../../src/rpc/generated/buildman.ts';
import { scratchPostgres } from '../harness/scratch-database.ts';
import { openRig, type Rig } from './rig.ts';

/** What a manager takes from workers of the host keys of git servers, and what it gives them. */
let rig: Rig;
let client: BuildManagerClient;
const git: BuildSource = {
  kind: 'git',
  url: 'ssh://git@git.example:2222/app',
  sha: 'a'.repeat(40),
  lfs: true,
};
const key: GitHostKey = {
  host: 'git.example',
  port: 2222,
  type: 'ssh-ed25519',
  key: 'AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl',
};
const other = { ...key, key: 'AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf' };

beforeAll(async () => {
  rig = await openRig({ open: scratchPostgres });
  client = new BuildManagerClient(rig.host, credentials.createInsecure());
});
afterAll(async () => {
  (client as Client).close();
  await rig[Symbol.asyncDispose]();
});

interface Worker {
  readonly pack: BuildPack;
  report(phase: Phase, keys: readonly GitHostKey[]): Promise<boolean>;
}

/** A worker of a new build that has its build pack. */
async function worker(source: BuildSource = git): Promise<Worker & AsyncDisposable> {
  const build = await rig.enqueue({ source }, { secrets: sealableCredentials({ privateKey: 'KEY' }) });
  const { token } = await rig.started(build);
  const pack = await new Promise<BuildPack>((resolve, reject) => {
    const capabilities = {
      version: '1',
      logBatches: true,
      pushesByDigest: true,
      engine: 'dummy',
      platform: 'linux/amd64',
    };
    client.registerBuildJob({ registerJwt: token, capabilities }, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
  let sequenceNumber = 0;
  return {
    pack,
    async report(phase, keys) {
      const request = {
        jobJwt: pack.jobJwt,
        sequenceNumber: ++sequenceNumber,
        phase,
        pullMetadata: undefined,
        fault: undefined,
        image: undefined,
        commit: '',
        gitHostKeys: [...keys],
      };
      const { success } = await new Promise<SetPhaseResponse>((resolve, reject) => {
        client.setPhase(request, (error, answer) => (error === null ? resolve(answer) : reject(error)));
      });
      return success;
    },
    async [Symbol.asyncDispose]() {
      await rig.queue.cancel(build.id, 'test');
      await rig.final(build);
    },
  };
}

test('a key is taken while the source is fetched, once, and given to later builds', async () => {
  await using first = await worker();
  expect(first.pack.gitHostKeys).toEqual([]);
  expect(first.pack.buildPack).toMatchObject({ gitPackage: { privateKey: 'KEY', lfs: true } });
  expect(first.pack.buildSecrets).toEqual([]);
  expect(await first.report(Phase.UNPACKING, [])).toBe(true);
  expect(await first.report(Phase.UNPACKING, [key, { ...key, host: 'a b' }, { ...key, key: 'x' }])).toBe(
    true,
  );
  expect(await first.report(Phase.UNPACKING, [other])).toBe(true);
  await using second = await worker();
  expect(second.pack.gitHostKeys).toEqual([key]);
  expect(await rig.hostKeys.forget(key)).toBe(true);
});

test('none is taken when the steps of the build may run, nor from a build that fetches by no ssh', async () => {
  await using late = await worker();
  await late.report(Phase.UNPACKING, []);
  await late.report(Phase.BUILDING, [key]);
  await late.report(Phase.UNPACKING, [key]);
  await using archive = await worker({ kind: 'archive', url: 'https://sources.example/app.tar.gz' });
  await archive.report(Phase.UNPACKING, [key]);
  expect(await rig.hostKeys.list(10)).toEqual([]);
});
