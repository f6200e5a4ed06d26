import type { ConfigFault } from './config-fault.ts';
import type { Origin } from './config-node.ts';
import type { ParsedConfig } from './parse-config.ts';

/** `file:line: message`, which editors and terminals can follow. */
export function faultLines(file: string, faults: readonly ConfigFault[]): readonly string[] {
  return faults.map(({ origin, message }) => `${placeOf(file, origin)}: ${message}`);
}

function placeOf(file: string, origin: Origin | undefined): string {
  if (origin === undefined) return file;
  return origin.kind === 'file' ? `${file}:${origin.line}` : `environment ${origin.variable}`;
}

/** What `slipway config check` says. */
export function formatReport(file: string, { faults, ignored, warnings }: ParsedConfig): readonly string[] {
  const lines = [...faultLines(file, faults)];
  for (const { origin, message } of warnings) lines.push(`${placeOf(file, origin)}: warning: ${message}`);
  if (ignored.length > 0) lines.push(`No effect in Slipway: ${ignored.map(({ path }) => path).join(', ')}.`);
  lines.push(
    faults.length === 0
      ? `${file} is in order.`
      : `${file} has ${faults.length} ${faults.length === 1 ? 'fault' : 'faults'}.`,
  );
  return lines;
}

/** The same for programs. */
export function reportJson(file: string, { faults, ignored, warnings }: ParsedConfig): object {
  return {
    file,
    ok: faults.length === 0,
    faults: faults.map(({ origin, ...fault }) => ({ ...fault, ...placeJson(origin) })),
    warnings: warnings.map(({ origin, ...warning }) => ({ ...warning, ...placeJson(origin) })),
    ignored: ignored.map(({ path, origin }) => ({ path, ...placeJson(origin) })),
  };
}

function placeJson(origin: Origin | undefined): object {
  if (origin === undefined) return {};
  return origin.kind === 'file'
    ? { line: origin.line, column: origin.column }
    : { environment: origin.variable };
}
