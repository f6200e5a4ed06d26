import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { Ec2ExecutorConfig } from '../config/config.ts';
import { CoreosAmi } from '../executor/ec2/coreos-ami.ts';
import { Ec2Api } from '../executor/ec2/ec2-api.ts';
import { Ec2Executor } from '../executor/ec2/ec2-executor.ts';
import { userData } from '../executor/ignition/user-data.ts';
import { workerMachineOf } from './worker-machine.ts';

export interface Ec2Options {
  /** The installation's hostname: its instances carry it. */
  readonly site: string;
  /** ALLOWED_WORKER_COUNT */
  readonly allowedWorkers: number;
  /** Where lists of Fedora CoreOS images are; the project's own unless given. */
  readonly coreosStreams?: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The executor of one entry of EXECUTORS that starts EC2 instances. */
export async function composeEc2(
  entry: Ec2ExecutorConfig,
  { site, allowedWorkers, coreosStreams, clock, logger }: Ec2Options,
): Promise<Ec2Executor> {
  const { name, region, endpoint, credentials, ami, channel, instanceType, subnet, keyName, debug } = entry;
  const machine = workerMachineOf(entry);
  // Machines that stay after their build are known to nobody but the executor.
  const maxWorkers = debug ? Math.min(entry.maxWorkers ?? allowedWorkers, allowedWorkers) : entry.maxWorkers;
  return new Ec2Executor({
    settings: {
      executor: name,
      site,
      channel,
      region,
      instanceType,
      securityGroups: entry.securityGroups,
      diskSize: entry.diskSize,
      ...(ami === undefined ? {} : { ami }),
      ...(subnet === undefined ? {} : { subnet }),
      ...(keyName === undefined ? {} : { keyName }),
    },
    api: await Ec2Api.open({
      executor: name,
      region,
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined
        ? {}
        : { credentials: { accessKey: credentials.accessKey, secretKey: credentials.secretKey.reveal() } }),
    }),
    amis: new CoreosAmi({
      executor: name,
      channel,
      region,
      instanceType,
      clock,
      ...(coreosStreams === undefined ? {} : { streams: coreosStreams }),
    }),
    userData: (order) => userData(name, machine, order),
    ...(maxWorkers === undefined ? {} : { maxWorkers }),
    debug,
    clock,
    onTrouble: (error) =>
      logger.warn({ executor: name, err: error }, 'EC2 was asked for the instances in vain'),
  });
}
