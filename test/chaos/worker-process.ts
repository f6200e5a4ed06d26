import { readFileSync } from 'node:fs';
import { exitStatus } from '../../src/worker/worker-end.ts';
import { runAgentOf } from './agent-life.ts';
import type { HostOrder } from './faulty-executor.ts';
import type { HostConfig } from './hosted-workers.ts';
import { journalTo } from './journal.ts';
import { attemptFaultsOf } from './schedule.ts';
import { Wiretap } from './wiretap.ts';

/** What a worker with a process of its own gets on standard input, as JSON; its arguments name the attempt. */
export interface WorkerProcessInput {
  readonly hosted: HostOrder;
  readonly config: HostConfig;
}

const { hosted, config } = JSON.parse(readFileSync(0, 'utf8')) as WorkerProcessInput;
const { order, build } = hosted;
const wiretap = new Wiretap({
  front: `127.0.0.1:${config.doors[0]}`,
  acknowledged: journalTo(config.journal),
});
// What it says after its end is said by those that live in their host: this one is to be gone by then.
const { lateReports: _, ...faults } = attemptFaultsOf(config.seed, build, order.epoch);
wiretap.listen(order.attemptId, faults);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const { end, registered } = await runAgentOf({ order, config, version: 'chaos-process' }, stop.signal);
process.exit(exitStatus(end, registered));
