import type { RunInstancesCommandInput } from '@aws-sdk/client-ec2';
import type { WorkerOrder } from '../executor.ts';
import { ExecutorError } from '../executor-error.ts';
import type { Ec2Settings } from './ec2-settings.ts';
import { tagsOf } from './instance-tags.ts';

/** Bytes of user data that EC2 takes, before they are encoded. */
const userDataLimit = 16_384;

export interface RunOptions {
  readonly order: WorkerOrder;
  readonly ami: string;
  readonly userData: string;
  /** Asked again under the same one, EC2 answers with the instance that is there. */
  readonly clientToken: string;
}

/** One instance for one order. Throws ExecutorError `misconfigured` when its user data is too long. */
export function runRequest(settings: Ec2Settings, options: RunOptions): RunInstancesCommandInput {
  const { subnet, securityGroups, keyName, diskSize, instanceType } = settings;
  const { order, ami, userData, clientToken } = options;
  const size = Buffer.byteLength(userData);
  if (size > userDataLimit) {
    throw new ExecutorError(
      'misconfigured',
      `What executor ${settings.executor} tells its instances is ${size} bytes long, and EC2 takes ${userDataLimit}. ` +
        'Give it fewer EXTRA_CA_CERTS or SSH_AUTHORIZED_KEYS, or put them into an image of your own (COREOS_AMI).',
    );
  }
  const Tags = Object.entries(tagsOf(settings, order)).map(([Key, Value]) => ({ Key, Value }));
  const groups = [...securityGroups];
  return {
    ClientToken: clientToken,
    ImageId: ami,
    InstanceType: instanceType as NonNullable<RunInstancesCommandInput['InstanceType']>,
    MinCount: 1,
    MaxCount: 1,
    UserData: Buffer.from(userData).toString('base64'),
    InstanceInitiatedShutdownBehavior: 'terminate',
    // One hop: a container with a network of its own does not reach it.
    MetadataOptions: { HttpTokens: 'required', HttpEndpoint: 'enabled', HttpPutResponseHopLimit: 1 },
    BlockDeviceMappings: [
      {
        DeviceName: '/dev/xvda',
        Ebs: { VolumeSize: diskSize, VolumeType: 'gp3', Encrypted: true, DeleteOnTermination: true },
      },
    ],
    TagSpecifications: [
      { ResourceType: 'instance', Tags },
      { ResourceType: 'volume', Tags },
    ],
    ...(keyName === undefined ? {} : { KeyName: keyName }),
    ...(subnet === undefined
      ? groups.length === 0
        ? {}
        : { SecurityGroupIds: groups }
      : {
          NetworkInterfaces: [
            {
              DeviceIndex: 0,
              SubnetId: subnet,
              Groups: groups,
              AssociatePublicIpAddress: true,
              DeleteOnTermination: true,
            },
          ],
        }),
  };
}
