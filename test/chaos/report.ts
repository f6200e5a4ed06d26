import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LogStore } from '../../src/log/log-store.ts';
import { parseBuildId } from '../../src/model/ids.ts';
import type { Cluster } from './cluster.ts';
import { rowsOf } from './final-check.ts';
import type { Violation } from './violation.ts';

const shown = 12;
const shownEntries = 120;

/** All that is known of the builds something is wrong with: their rows, their logs, and what managers said of them. */
export async function reportOn(
  violations: readonly Violation[],
  cluster: Cluster,
  log: LogStore,
): Promise<string> {
  const lines = violations.map(({ invariant, buildId, what }) => `${invariant} ${buildId ?? ''}: ${what}`);
  const rows = await rowsOf(cluster).catch(() => new Map());
  const builds = [...new Set(violations.flatMap(({ buildId }) => buildId ?? []))].slice(0, shown);
  for (const id of builds) {
    const found = rows.get(id);
    lines.push('', `=== build ${id}`, `row ${JSON.stringify(found?.build)}`);
    for (const attempt of found?.attempts ?? []) lines.push(`attempt ${JSON.stringify(attempt)}`);
    const buildId = parseBuildId(id);
    const page = buildId === undefined ? undefined : await log.read(buildId, 0, 1_000).catch(() => undefined);
    lines.push(`log: ${page?.total} entries, closed ${page?.closed}; without most numbered lines:`);
    const told = (page?.entries ?? [])
      .map((entry, at) => `  ${at} ${entry.type ?? ''} ${entry.message} ${JSON.stringify(entry.data ?? {})}`)
      .filter((line) => !/ [LP] \d*[1-9] /.test(line));
    lines.push(...told.slice(0, shownEntries));
    const names = [id, ...(found?.attempts ?? []).map((attempt: { id: string }) => attempt.id)];
    for (const index of cluster.managers.keys())
      lines.push(
        ...(await mentions(
          `manager ${index}`,
          join(cluster.folder, `manager-${index}`, 'server.log'),
          names,
        )),
      );
    for (const host of cluster.hosts) lines.push(...(await mentions(host.name, host.output, names)));
  }
  return lines.join('\n');
}

async function mentions(who: string, file: string, names: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const input = createReadStream(file);
  const missing = new Promise<void>((resolve) => input.once('error', () => resolve()));
  const read = (async () => {
    for await (const line of createInterface(input)) {
      if (names.some((name) => line.includes(name))) found.push(`  ${who}: ${line.slice(0, 600)}`);
    }
  })();
  await Promise.race([read, missing]);
  return found.slice(-40);
}
