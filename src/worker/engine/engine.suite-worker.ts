import { systemClock } from '../../base/clock.ts';
import { BuildahEngine, type BuildahOptions } from './buildah.ts';
import type { EngineBuild } from './engine.ts';

/** A process that builds and is killed meanwhile: the test of what then remains. Its argument is JSON. */
const { request, ...options }: BuildahOptions & { request: EngineBuild } = JSON.parse(process.argv[2] ?? '');
await new BuildahEngine({ ...options, clock: systemClock }).build(
  { ...request, buildArgs: new Map(), labels: new Map() },
  {
    write: async (bytes) => {
      process.stdout.write(bytes);
    },
  },
  new AbortController().signal,
);
