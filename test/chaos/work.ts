import type { PlannedBuild } from './schedule.ts';

/** What a build does and says, as a Dockerfile for the dummy engine (see dummy-script.ts). */
export interface Work {
  readonly dockerfile: string;
  /** The numbered lines of a whole attempt: while building, then while pushing. */
  readonly building: readonly string[];
  readonly pushing: readonly string[];
}

const pieces = 4;

export function workOf(build: PlannedBuild): Work {
  const building = Array.from({ length: build.lines }, (_, at) => `L ${at}`);
  const pushing = build.pushSleep > 0 && build.nature !== 'unpushed' ? ['P 0', 'P 1', 'P 2'] : [];
  const each = Math.ceil(building.length / pieces);
  const script: string[] = [];
  for (let piece = 0; piece < pieces; piece += 1) {
    script.push(...building.slice(piece * each, (piece + 1) * each).map((line) => `#dummy print ${line}`));
    script.push(`#dummy sleep ${Math.round(build.sleep / pieces)}`);
  }
  if (build.secret !== undefined) script.push(`#dummy print the secret is ${build.secret}`);
  if (build.nature === 'error')
    script.push('#dummy fail builderror The schedule says that this build fails.');
  script.push(...pushing.map((line) => `#dummy push print ${line}`));
  if (build.pushSleep > 0) script.push(`#dummy push sleep ${build.pushSleep}`);
  if (build.nature === 'infrastructure')
    script.push('#dummy push fail pushissue The schedule says that this push fails.');
  return { dockerfile: `FROM scratch\n${script.join('\n')}\n`, building, pushing };
}
