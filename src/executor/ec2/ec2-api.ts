import type {
  EC2Client,
  Filter,
  Instance,
  InstanceStateName,
  RunInstancesCommandInput,
} from '@aws-sdk/client-ec2';
import type { AttemptId } from '../../model/ids.ts';
import { lastOutput } from '../last-output.ts';
import { answerOf, type Ec2Place, fromEc2, isNoInstance } from './ec2-error.ts';
import { attemptOf } from './instance-tags.ts';

export interface Ec2ApiOptions {
  readonly executor: string;
  readonly region: string;
  /** `http(s)://host[:port]` of a cloud that speaks EC2; absent: AWS finds it by the region. */
  readonly endpoint?: string;
  /** Absent: the usual AWS chain (environment, profile, instance). */
  readonly credentials?: { readonly accessKey: string; readonly secretKey: string };
  /** Milliseconds for one answer; 10 s unless given: the next executor is to have its turn before an attempt expires. */
  readonly timeout?: number;
  /** Tries of one request in all; 2 unless given. */
  readonly tries?: number;
}

/** An instance as EC2 tells of it. */
export interface Ec2Instance {
  readonly id: string;
  readonly attemptId: AttemptId | undefined;
  readonly state: InstanceStateName;
  /** Why it is in that state, in EC2's words; '' when it does not say. */
  readonly why: string;
}

type Sdk = typeof import('@aws-sdk/client-ec2');

/** Instances of one answer. */
const pageSize = 1000;
/** Ids that one filter takes. */
const idsAtOnce = 200;

/**
 * The calls of EC2 that workers need; what they throw is theirs, see ec2-error.ts. The SDK is loaded by `open`, so
 * that a server without instances does not pay for it.
 */
export class Ec2Api {
  readonly place: Ec2Place;
  readonly #sdk: Sdk;
  readonly #client: EC2Client;

  private constructor(sdk: Sdk, options: Ec2ApiOptions) {
    const { executor, region, endpoint, credentials, timeout = 10_000, tries = 2 } = options;
    this.#sdk = sdk;
    this.place = {
      executor,
      at: endpoint ?? region,
      secrets: credentials === undefined ? [] : [credentials.accessKey, credentials.secretKey],
    };
    this.#client = new sdk.EC2Client({
      region,
      maxAttempts: tries,
      retryMode: 'standard',
      requestHandler: {
        connectionTimeout: Math.min(5_000, timeout),
        requestTimeout: timeout,
        throwOnRequestTimeout: true,
      },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined
        ? {}
        : { credentials: { accessKeyId: credentials.accessKey, secretAccessKey: credentials.secretKey } }),
    });
  }

  static async open(options: Ec2ApiOptions): Promise<Ec2Api> {
    return new Ec2Api(await import('@aws-sdk/client-ec2'), options);
  }

  close(): void {
    this.#client.destroy();
  }

  /** Throws what EC2 answered, as the SDK has it. */
  async run(request: RunInstancesCommandInput, signal: AbortSignal): Promise<Ec2Instance> {
    const command = new this.#sdk.RunInstancesCommand(request);
    const { Instances } = await this.#client.send(command, { abortSignal: signal });
    const [instance] = (Instances ?? []).flatMap(instanceOf);
    if (instance === undefined) throw new Error('it answered without an instance');
    return instance;
  }

  /** Whether `run` would do what it is asked; starts nothing. Throws what EC2 answered. */
  async tryRun(request: RunInstancesCommandInput, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.RunInstancesCommand({ ...request, DryRun: true });
    await this.#client.send(command, { abortSignal: signal }).catch((thrown: unknown) => {
      // So EC2 says of a dry run that would have gone well.
      if (answerOf(thrown) !== 'DryRunOperation') throw thrown;
    });
  }

  /** All instances that the filters fit. */
  async list(filters: readonly Filter[], signal: AbortSignal): Promise<Ec2Instance[]> {
    const found: Ec2Instance[] = [];
    let NextToken: string | undefined;
    try {
      do {
        const command = new this.#sdk.DescribeInstancesCommand({
          Filters: [...filters],
          MaxResults: pageSize,
          ...(NextToken === undefined ? {} : { NextToken }),
        });
        const page = await this.#client.send(command, { abortSignal: signal });
        for (const { Instances } of page.Reservations ?? [])
          found.push(...(Instances ?? []).flatMap(instanceOf));
        NextToken = page.NextToken === '' ? undefined : page.NextToken;
      } while (NextToken !== undefined);
      return found;
    } catch (thrown) {
      signal.throwIfAborted();
      throw fromEc2(thrown, 'list its instances', this.place);
    }
  }

  /** Those of these ids that there are, in whatever state; EC2 remembers one for about an hour after its end. */
  async byIds(ids: readonly string[], signal: AbortSignal): Promise<Ec2Instance[]> {
    const found: Ec2Instance[] = [];
    // As a filter: asked for by their ids, one that is not there makes the call fail.
    for (let at = 0; at < ids.length; at += idsAtOnce) {
      const Values = ids.slice(at, at + idsAtOnce);
      found.push(...(await this.list([{ Name: 'instance-id', Values }], signal)));
    }
    return found;
  }

  /** An instance that is not there is success. */
  async terminate(id: string, signal: AbortSignal): Promise<void> {
    try {
      const command = new this.#sdk.TerminateInstancesCommand({ InstanceIds: [id] });
      await this.#client.send(command, { abortSignal: signal });
    } catch (thrown) {
      if (isNoInstance(thrown)) return;
      signal.throwIfAborted();
      throw fromEc2(thrown, 'end an instance', this.place);
    }
  }

  /** The last lines of an instance's console; undefined when there are none, or they cannot be read. */
  async console(id: string, signal: AbortSignal): Promise<string | undefined> {
    // Only some types of instances have the latest output; all have what EC2 kept last.
    for (const latest of [true, false]) {
      try {
        const command = new this.#sdk.GetConsoleOutputCommand({
          InstanceId: id,
          ...(latest ? { Latest: true } : {}),
        });
        const { Output = '' } = await this.#client.send(command, { abortSignal: signal });
        const text = lastOutput(Buffer.from(Output, 'base64'));
        if (text !== undefined) return text;
      } catch {
        if (signal.aborted) return undefined;
      }
    }
    return undefined;
  }
}

function instanceOf({ InstanceId, State, StateReason, Tags }: Instance): Ec2Instance[] {
  if (InstanceId === undefined || State?.Name === undefined) return [];
  return [
    { id: InstanceId, attemptId: attemptOf(Tags ?? []), state: State.Name, why: StateReason?.Message ?? '' },
  ];
}
