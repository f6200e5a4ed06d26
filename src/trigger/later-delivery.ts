import { type RawBuilder, sql } from 'kysely';

/** Of a row of `trigger_deliveries` under that name: it says that its ref was deleted. */
export function refRemovedBy(name: string): RawBuilder<boolean> {
  const row = sql.raw(name);
  return sql<boolean>`(${row}.came_by = 'hook' and ${row}.outcome = 'skipped' and ${row}.ref <> ''
    and ${row}.commit_sha is null)`;
}

/**
 * Of a row of `trigger_deliveries`: no other commit of its ref came after it, nor was the ref deleted. Somebody's sending
 * an old delivery again says nothing about where the ref is.
 */
export const noOtherLater: RawBuilder<boolean> = sql<boolean>`not exists (
  select 1 from trigger_deliveries as later
  where later.trigger_id = trigger_deliveries.trigger_id and later.ref = trigger_deliveries.ref
    and later.number > trigger_deliveries.number
    and (later.commit_sha <> trigger_deliveries.commit_sha and later.came_by <> 'person'
        and later.outcome not in ('refused', 'failed')
      or ${refRemovedBy('later')}))`;
