import { parseDuration } from '../base/duration.ts';
import { CliError } from './cli-error.ts';

/** `--expires`: a span from now, or a moment. Throws `usage`. */
export function parseExpiry(text: string, now: number): string {
  const span = parseDuration(text);
  if (span !== undefined) return new Date(now + span).toISOString();
  const at = /^\d{4}-/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at))
    throw new CliError(
      'usage',
      `--expires ${text} is neither a time nor a span. Write it like 30d, or like 2030-01-31T12:00:00Z`,
    );
  return new Date(at).toISOString();
}
