import type { ChaosSize } from './schedule.ts';

/** A run of less shows too little; it is what every run makes at least unless it is asked for another number. */
export const fewestBuilds = 500;

export function buildsOf(minutes: number): number {
  return Math.max(fewestBuilds, Math.ceil(minutes * 180));
}

/** The command that runs the same schedule again. */
export function replayOf(seed: number, { minutes, builds, managers, hosts, jumps }: ChaosSize): string {
  const sizes = `--minutes ${minutes} --builds ${builds} --managers ${managers} --hosts ${hosts}`;
  return `npm run chaos -- --seed ${seed} ${sizes} --clock-jumps ${jumps}`;
}

export function newSeed(): number {
  return Math.floor(Math.random() * 1e9);
}

/** What SLIPWAY_CHAOS_SEED says: a number, or `random`. */
export function seedOf(text: string): number {
  if (text === 'random') return newSeed();
  if (!/^\d{1,10}$/.test(text)) throw new Error(`a seed is a whole number or "random", not "${text}"`);
  return Number(text);
}

/** A run that did not come to its end. Says how to do the same again. */
export class ChaosFailure extends Error {
  constructor(replay: string, cause: unknown) {
    const what = cause instanceof Error ? cause.message : String(cause);
    super(`the run did not come to its end: ${what}\nagain: ${replay}`, { cause });
    this.name = 'ChaosFailure';
  }
}
