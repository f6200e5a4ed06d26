import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock as clock } from '../../src/base/clock.ts';
import type { Row } from '../../src/db/schema.ts';
import type { LogStore } from '../../src/log/log-store.ts';
import type { Outcome } from '../../src/model/attempt.ts';
import { type Digest, parseDigest } from '../../src/model/digest.ts';
import type { Fault } from '../../src/model/fault.ts';
import { parseBuildId } from '../../src/model/ids.ts';
import { isFinal, type Phase } from '../../src/model/phase.ts';
import { parseTag } from '../../src/model/tag.ts';
import { supersededBy } from '../../src/queue/supersede.ts';
import { OciClient } from '../../src/registry/oci-client.ts';
import { parseManifest } from '../../src/registry/oci-manifest.ts';
import { attemptLabel } from './attempt-engine.ts';
import type { Cluster } from './cluster.ts';
import type { Disturbances } from './disturbances.ts';
import { faultsOfEnd } from './end-check.ts';
import type { Accepted, Load } from './load.ts';
import { anyToken, faultsOfLog } from './log-check.ts';
import type { Sampler } from './sampler.ts';
import { attemptFaultsOf, numberOf, type Schedule } from './schedule.ts';
import { type SealedLogs, wholeLog } from './sealed-logs.ts';
import type { Violate } from './violation.ts';
import type { Acknowledged } from './wiretap.ts';
import { workOf } from './work.ts';

export interface FinalCheckOptions {
  readonly cluster: Cluster;
  readonly schedule: Schedule;
  readonly load: Load;
  readonly log: LogStore;
  readonly sealed: SealedLogs;
  readonly disturbances: Disturbances;
  readonly sampler: Sampler;
  readonly violate: Violate;
}

export interface BuildRows {
  readonly build: Row<'builds'>;
  readonly attempts: readonly Row<'attempts'>[];
}

/** After everything has settled: I1, I2, I3, I6 and I7 from the database, the registry, and the files. */
export class FinalCheck {
  readonly #options: FinalCheckOptions;
  readonly #registry: OciClient;

  constructor(options: FinalCheckOptions) {
    this.#options = options;
    this.#registry = new OciClient({
      endpoint: { kind: 'network', host: new URL(options.cluster.url).host, security: 'http' },
      credentials: { kind: 'password', username: '$oauthtoken', password: options.cluster.token },
      clock,
    });
  }

  async run(): Promise<void> {
    const { cluster, schedule, load, violate } = this.#options;
    const rows = await rowsOf(cluster);
    if (load.accepted.size !== schedule.builds.length)
      violate('I1', `${load.accepted.size} of ${schedule.builds.length} builds were accepted`);
    if (rows.size !== schedule.builds.length)
      violate('I1', `${schedule.builds.length} builds were asked for, the database has ${rows.size}`);
    const acknowledged = await this.#acknowledged();
    // Builds of one line, by its number; most are alone.
    const lines = Map.groupBy(
      [...load.accepted.values()].flatMap(({ planned, id }) => {
        const found = rows.get(id);
        return found === undefined ? [] : [{ number: numberOf(planned), ...found }];
      }),
      ({ number }) => number,
    );
    for (const line of lines.values()) this.#newest(line);
    for (const accepted of load.accepted.values()) {
      const found = rows.get(accepted.id);
      if (found === undefined) {
        violate('I1', `build ${accepted.planned.index} was accepted and is not in the database`, accepted.id);
        continue;
      }
      const line = lines.get(numberOf(accepted.planned)) ?? [];
      this.#end(accepted, found, line);
      await this.#log(accepted, found, acknowledged);
      await this.#image(accepted, found, line);
    }
    await this.#outputs();
  }

  /** I1: of the builds of a line at least one was not superseded, and the others say which came in their place. */
  #newest(line: readonly BuildRows[]): void {
    const { violate } = this.#options;
    const next = new Map(line.map(({ build }) => [build.id, build.superseded_by]));
    for (const { build } of line) {
      let last = build.id;
      for (let steps = 0; steps <= line.length; steps += 1) last = next.get(last) ?? last;
      if (next.get(last) !== null)
        violate('I1', 'the builds that superseded it were all superseded by each other', build.id);
    }
  }

  /** I1: every build is final, and ended in a way that its nature and what was done to it allow. */
  #end({ planned, id }: Accepted, { build, attempts }: BuildRows, line: readonly BuildRows[]): void {
    const { violate, load, schedule, disturbances, sampler } = this.#options;
    const phase = build.phase as Phase;
    if (!isFinal(phase) || build.finished_at === null) {
      violate('I1', `the build never ended: it is ${phase}`, id);
      return;
    }
    if (attempts.some(({ state }) => state !== 'done'))
      violate('I1', `the build is ${phase} and has attempts that are not over`, id);
    const granted = load.cancelled.has(planned.index);
    const faults = faultsOfEnd({
      nature: planned.nature,
      phase,
      fault: build.fault_json === null ? undefined : (JSON.parse(build.fault_json) as Fault),
      cancel: granted ? 'granted' : planned.cancelAfter === undefined ? 'none' : 'asked',
      attempts: attempts.map((row) => ({
        epoch: row.epoch,
        outcome: outcomeOf(row),
        faults: attemptFaultsOf(schedule.seed, numberOf(planned), row.epoch),
        disturbed: disturbances.between(sampler.runOf(row.id)),
      })),
      ...(build.superseded_by === null && build.cancelled_by !== supersededBy
        ? {}
        : {
            superseded: {
              planned:
                planned.line !== undefined &&
                line.some(
                  (other) => other.build.id === build.superseded_by && other.build.number > build.number,
                ),
              started: build.started_at !== null || attempts.some((row) => row.registered_at !== null),
            },
          }),
    });
    for (const fault of faults) violate('I1', fault, id);
  }

  async #log({ planned, id }: Accepted, { build, attempts }: BuildRows, told: Map<string, number>) {
    const { log, sealed, violate } = this.#options;
    const buildId = parseBuildId(id);
    if (buildId === undefined) throw new Error(`${id} is no id of a build`);
    const { entries, closed, archived } = await wholeLog(log, buildId);
    if (!archived) violate('I3', 'the log is not archived', id);
    if (!sealed.holds(buildId, entries))
      violate('I3', 'the log says something else than when it was closed', id);
    const faults = faultsOfLog({
      entries,
      closed,
      phase: build.phase,
      work: workOf(planned),
      ...(planned.secret === undefined ? {} : { secret: planned.secret }),
      attempts: attempts.map((row) => ({
        id: row.id,
        epoch: row.epoch,
        complete: outcomeOf(row)?.kind === 'complete',
        pushed: row.pushing_at !== null,
        acknowledged: told.get(row.id) ?? 0,
      })),
    });
    for (const fault of faults) violate('I3', fault, id);
  }

  /** I2 and I6. The registry's storage knows every digest that a tag ever stood for. */
  async #image(
    { planned, id }: Accepted,
    { build, attempts }: BuildRows,
    line: readonly BuildRows[],
  ): Promise<void> {
    const { cluster, violate } = this.#options;
    const repository = `${planned.namespace}/${planned.repository}`;
    const published = build.phase === 'complete' && planned.nature !== 'unpushed';
    const last = attempts.reduce<Row<'attempts'> | undefined>(
      (highest, row) => (highest === undefined || row.epoch > highest.epoch ? row : highest),
      undefined,
    );
    const itself = new Set(
      line.flatMap((each) =>
        each.attempts.flatMap((row) =>
          row.capabilities_json === '{}' && row.pushing_at !== null ? row.id : [],
        ),
      ),
    );
    const unpushed = planned.nature === 'unpushed';
    const ofLine = new Set(
      line.flatMap((each) => (each.build.phase === 'complete' && !unpushed ? (each.build.digest ?? []) : [])),
    );
    if (published && build.digest === null) violate('I6', 'the complete build reports no digest', id);
    if (!published && build.digest !== null) violate('I6', `a ${build.phase} build reports a digest`, id);
    for (const name of planned.tags) {
      const stood = await everStoodFor(cluster.storage, repository, name);
      const others = stood.filter((hex) => !ofLine.has(`sha256:${hex}` as Digest));
      for (const hex of others) {
        // Workers that know only the shared protocol put their tags there themselves, whatever becomes of them then.
        const maker = await this.#maker(repository, hex);
        if (maker !== undefined && itself.has(maker)) continue;
        violate('I2', `${name} of a ${build.phase} build stood for ${hex} of attempt ${maker}`, id);
      }
      if (!published) continue;
      const tag = parseTag(name);
      if (tag === undefined) throw new Error(`${name} is no tag`);
      const signal = AbortSignal.timeout(20_000);
      const get = (reference: typeof tag | Digest) =>
        this.#registry.getManifest(repository, reference, signal).catch((thrown: unknown) => {
          violate('I6', `the registry does not serve ${repository} ${reference}: ${String(thrown)}`, id);
        });
      let served = await get(tag);
      if (served !== undefined && served.digest !== build.digest) {
        // The tag may have gone on to a newer build of the line; its own image is there all the same.
        const own = build.digest === null ? undefined : parseDigest(build.digest);
        if (!ofLine.has(served.digest) || own === undefined)
          violate(
            'I6',
            `the build reports ${build.digest}, the registry serves ${served.digest} as ${name}`,
            id,
          );
        else served = await get(own);
      }
      if (served === undefined) continue;
      const manifest = parseManifest(served);
      if (manifest.kind !== 'image') continue;
      const config = await this.#config(repository, manifest.config.digest, signal);
      const maker = config.config?.Labels?.[attemptLabel];
      if (maker !== last?.id)
        violate('I2', `tag ${name} is the image of attempt ${maker}, the last attempt is ${last?.id}`, id);
      const reported = last === undefined ? undefined : outcomeOf(last);
      if (reported?.kind === 'complete' && reported.image?.digest !== build.digest)
        violate('I6', `the attempt reported ${reported.image?.digest}, the build ${build.digest}`, id);
    }
  }

  /** The attempt whose image a digest is; undefined: there is no such image, or it does not say. */
  async #maker(repository: string, hex: string): Promise<string | undefined> {
    const digest = parseDigest(`sha256:${hex}`);
    if (digest === undefined) return undefined;
    const signal = AbortSignal.timeout(20_000);
    const served = await this.#registry.getManifest(repository, digest, signal).catch(() => undefined);
    const manifest = served === undefined ? undefined : parseManifest(served);
    if (manifest?.kind !== 'image') return undefined;
    const { config } = await this.#config(repository, manifest.config.digest, signal);
    return config?.Labels?.[attemptLabel];
  }

  async #config(repository: string, digest: Parameters<OciClient['getBlob']>[1], signal: AbortSignal) {
    const { stream } = await this.#registry.getBlob(repository, digest, signal);
    const pieces: Buffer[] = [];
    for await (const piece of stream) pieces.push(piece as Buffer);
    return JSON.parse(Buffer.concat(pieces).toString()) as {
      readonly config?: { readonly Labels?: Readonly<Record<string, string>> };
    };
  }

  async #acknowledged(): Promise<Map<string, number>> {
    const { cluster } = this.#options;
    const told = new Map<string, number>();
    for (const host of cluster.hosts.keys()) {
      const text = await readFile(cluster.journalOf(host), 'utf8').catch(() => '');
      for (const line of text.split('\n')) {
        // The last line of a host that was killed may be cut short.
        if (!line.endsWith('}')) continue;
        const { attemptId, lines } = JSON.parse(line) as Acknowledged;
        told.set(attemptId, Math.max(told.get(attemptId) ?? 0, lines));
      }
    }
    return told;
  }

  /** I7: what processes wrote holds no token and no secret of a build. And none of them warns of a leak. */
  async #outputs(): Promise<void> {
    const { cluster, violate, schedule } = this.#options;
    const secrets = schedule.builds.flatMap(({ secret }) => secret ?? []);
    for (const file of await writtenFiles(cluster.folder)) {
      for await (const line of createInterface(createReadStream(file))) {
        const found = anyToken.test(line) || line.includes(cluster.token) || line.includes(cluster.password);
        if (found || secrets.some((secret) => line.includes(secret)))
          violate('I7', `${file} holds a secret: ${line.slice(0, 300)}`);
        if (line.includes('MaxListenersExceededWarning'))
          violate('processes', `${file}: ${line.slice(0, 300)}`);
      }
    }
  }
}

export async function rowsOf({ database }: Pick<Cluster, 'database'>): Promise<Map<string, BuildRows>> {
  const builds = await database.sql.selectFrom('builds').selectAll().execute();
  const attempts = await database.sql.selectFrom('attempts').selectAll().orderBy('epoch').execute();
  const of = Map.groupBy(attempts, (row) => row.build_id);
  return new Map(builds.map((build) => [build.id, { build, attempts: of.get(build.id) ?? [] }]));
}

function outcomeOf({ outcome_json }: Row<'attempts'>): Outcome | undefined {
  return outcome_json === null ? undefined : (JSON.parse(outcome_json) as Outcome);
}

async function everStoodFor(storage: string, repository: string, tag: string): Promise<string[]> {
  const folder = `docker/registry/v2/repositories/${repository}/_manifests/tags/${tag}/index/sha256`;
  return await readdir(join(storage, folder)).catch(() => []);
}

/** Logs and outputs of the run's processes. */
async function writtenFiles(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  return files.filter((file) => /\.(?:log|out)$/.test(file)).map((file) => join(folder, file));
}
