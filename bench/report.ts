/** One figure of a benchmark: what it is, what was seen, and what it must be for the benchmark to be ok. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Absent: shown, not judged. */
  readonly limit?: { readonly kind: 'at-most' | 'at-least'; readonly value: number };
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)];
  if (value === undefined) throw new RangeError('no values');
  return value;
}

function holds({ value, limit }: Figure): boolean {
  if (limit === undefined) return true;
  return limit.kind === 'at-most' ? value <= limit.value : value >= limit.value;
}

/** Prints the table, then the one line of JSON that programs read; the exit status says whether every limit held. */
export function report(bench: string, figures: readonly Figure[]): void {
  const width = Math.max(...figures.map(({ name }) => name.length));
  process.stdout.write('\n');
  for (const figure of figures) {
    const { name, value, unit, limit } = figure;
    const wanted =
      limit === undefined
        ? ''
        : `   ${limit.kind === 'at-most' ? '<=' : '>='} ${limit.value}  ${holds(figure) ? 'ok' : 'NOT REACHED'}`;
    process.stdout.write(
      `${name.padEnd(width)}  ${value.toFixed(3).padStart(12)} ${unit.padEnd(8)}${wanted}\n`,
    );
  }
  const ok = figures.every(holds);
  const metrics = Object.fromEntries(
    figures.map(({ name, value }) => [name.replaceAll(/[^a-z0-9]+/gi, '_'), Number(value.toFixed(4))]),
  );
  process.stdout.write(`${JSON.stringify({ bench, ok, metrics })}\n`);
  process.exitCode = ok ? 0 : 1;
}
