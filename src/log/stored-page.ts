import { entriesOf, type LogPiece } from './log-chunk.ts';
import { jsonOf } from './log-json.ts';
import type { LogEntry, LogTailPage } from './log-store.ts';

/** A page of stored pieces, as a plain object whose entries are made when they are first asked for. */
export function storedPage(
  page: Pick<LogTailPage, 'start' | 'count' | 'total' | 'closed'>,
  pieces: readonly LogPiece[],
): LogTailPage {
  let entries: readonly LogEntry[] | undefined;
  return {
    ...page,
    get entries() {
      entries ??= entriesOf(pieces);
      return entries;
    },
    hasPhase: pieces.some((piece) => piece.kind === 'entry' && piece.entry.type === 'phase'),
    json: (before, after) => jsonOf(pieces, before, after),
  };
}
