import { appendFileSync } from 'node:fs';
import type { Acknowledged } from './wiretap.ts';

/** Writes down, before anything else happens, what managers acknowledged. It outlives the process that was told. */
export function journalTo(file: string): (told: Acknowledged) => void {
  return (told) => appendFileSync(file, `${JSON.stringify(told)}\n`);
}
