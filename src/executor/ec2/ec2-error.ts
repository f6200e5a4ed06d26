import { ExecutorError, type ExecutorErrorCode } from '../executor-error.ts';
import { withoutTokens } from '../token-mask.ts';

/** What was asked of EC2, in words that follow "could not". */
export type Ec2Call = 'start an instance' | 'list its instances' | 'end an instance' | 'read a console';

interface Kind {
  readonly code: ExecutorErrorCode;
  readonly advice: string;
  readonly names: readonly string[];
}

/** The codes of EC2, of those that speak its language, and the names of the SDK's own errors. */
const kinds: readonly Kind[] = [
  {
    code: 'at-capacity',
    advice: 'EC2 has no room for such an instance now; other executors are asked, and it is tried again.',
    names: [
      'InsufficientInstanceCapacity',
      'InsufficientHostCapacity',
      'InsufficientCapacity',
      'InsufficientReservedInstanceCapacity',
    ],
  },
  {
    code: 'at-capacity',
    advice:
      'A limit of the account is reached; wait for builds to end, lower MAX_WORKERS, or have the limit raised.',
    names: [
      'InstanceLimitExceeded',
      'VcpuLimitExceeded',
      'VolumeLimitExceeded',
      'MaxIOPSLimitExceeded',
      'InsufficientFreeAddressesInSubnet',
      'InsufficientAddressCapacity',
      'NetworkInterfaceLimitExceeded',
      'ResourceLimitExceeded',
      'ResourceCountExceeded',
    ],
  },
  {
    code: 'at-capacity',
    advice: 'EC2 asks for fewer requests; other executors are asked, and it is tried again.',
    names: [
      'RequestLimitExceeded',
      'Throttling',
      'ThrottlingException',
      'ThrottledException',
      'EC2ThrottledException',
      'RequestThrottled',
      'RequestThrottledException',
      'TooManyRequestsException',
      'SlowDown',
      'BandwidthLimitExceeded',
    ],
  },
  {
    code: 'misconfigured',
    advice:
      'Check AWS_ACCESS_KEY and AWS_SECRET_KEY, or what the AWS chain finds without them (environment, profile, role of the instance).',
    names: [
      'AuthFailure',
      'InvalidClientTokenId',
      'SignatureDoesNotMatch',
      'IncompleteSignature',
      'MissingAuthenticationToken',
      'InvalidAccessKeyId',
      'UnrecognizedClientException',
      'InvalidSignatureException',
      'ExpiredToken',
      'ExpiredTokenException',
      'CredentialsProviderError',
      'CredentialsError',
      'TokenProviderError',
    ],
  },
  {
    code: 'misconfigured',
    advice: 'Give its user or role the rights that docs/ec2.md lists.',
    names: [
      'UnauthorizedOperation',
      'AccessDenied',
      'AccessDeniedException',
      'OperationNotPermitted',
      'Client.UnauthorizedOperation',
    ],
  },
  {
    code: 'misconfigured',
    advice: 'The account cannot use EC2 there: check EC2_REGION, and the account itself.',
    names: [
      'OptInRequired',
      'Blocked',
      'PendingVerification',
      'AuthorizationHeaderMalformed',
      'UnknownEndpoint',
    ],
  },
  {
    code: 'misconfigured',
    advice: 'The clock of this machine is wrong; set it.',
    names: ['RequestExpired', 'RequestTimeTooSkewed'],
  },
  {
    code: 'misconfigured',
    advice:
      'Correct COREOS_AMI: the image must be in EC2_REGION, be shared with the account, and fit EC2_INSTANCE_TYPE.',
    names: [
      'InvalidAMIID.NotFound',
      'InvalidAMIID.Malformed',
      'InvalidAMIID.Unavailable',
      'InvalidAMIID.NotAllowed',
    ],
  },
  {
    code: 'start-failed',
    advice:
      'An instance was started for this attempt before, and has ended; the next try starts another one.',
    names: ['IdempotentParameterMismatch'],
  },
];

const byName = new Map(kinds.flatMap((kind) => kind.names.map((name) => [name, kind] as const)));

/** There are some hundreds of the form `InvalidSubnetID.NotFound`; they name what they are about. */
const ofTheRequest = /^(Invalid|Missing|Unsupported|VPC(Id|Resource)NotSpecified)/;
const wrongRequest: Kind = {
  code: 'misconfigured',
  advice:
    'Correct the key of this executor that it is about: EC2_INSTANCE_TYPE, EC2_VPC_SUBNET_ID, EC2_SECURITY_GROUP_IDS, EC2_KEY_NAME or BLOCK_DEVICE_SIZE.',
  names: [],
};

function kindOf(name: string, status: number | undefined): Kind | undefined {
  const kind = byName.get(name);
  if (kind !== undefined || status === undefined || status >= 500) return kind;
  return ofTheRequest.test(name) ? wrongRequest : undefined;
}

export interface Ec2Place {
  readonly executor: string;
  /** Endpoint or region. */
  readonly at: string;
  /** What no message may show. */
  readonly secrets: readonly string[];
}

/** The name of what EC2 answered; '' when it was not an answer of EC2. */
export function answerOf(thrown: unknown): string {
  return factsOf(thrown).name;
}

/** Whether the instance is not there, or what was named cannot be one. */
export function isNoInstance(thrown: unknown): boolean {
  return ['InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed', 'InvalidInstanceId.NotFound'].includes(
    answerOf(thrown),
  );
}

/**
 * What the AWS SDK throws, as an ExecutorError. The SDK's error is not kept as the cause: it may hold the request, which
 * holds the registration token.
 */
export function fromEc2(thrown: unknown, call: Ec2Call, { executor, at, secrets }: Ec2Place): ExecutorError {
  if (thrown instanceof ExecutorError) return thrown;
  const { name, status, message, node } = factsOf(thrown);
  const kind = kindOf(name, status);
  const why = withoutSecrets(`${name}: ${message}`, secrets);
  const said = `Executor ${executor} could not ${call} at ${at} (${why}).`;
  if (kind !== undefined) return new ExecutorError(kind.code, `${said} ${kind.advice}`);
  if (status === 401 || status === 403)
    return new ExecutorError('misconfigured', `${said} Check its AWS keys and their rights (docs/ec2.md).`);
  if (status === 429) return new ExecutorError('at-capacity', `${said} It is tried again.`);
  if (status !== undefined && status < 500 && status >= 400)
    return new ExecutorError('start-failed', `${said} Check the configuration of this executor.`);
  if (node === 'ENOTFOUND' || node === 'EAI_AGAIN')
    return new ExecutorError(
      'unavailable',
      `${said} There is no such host: check EC2_REGION, EC2_ENDPOINT and the name service.`,
    );
  return new ExecutorError(
    'unavailable',
    `${said} It does not answer, or failed: check that it can be reached from here.`,
  );
}

/** A long answer is cut: the rest of one that was not authorized is encoded, and says what was in the request. */
function withoutSecrets(text: string, secrets: readonly string[]): string {
  const told = text.replace(/Encoded authorization failure message:[\s\S]*/, '').trim();
  return secrets
    .reduce(
      (shown, secret) => (secret === '' ? shown : shown.replaceAll(secret, '[secret]')),
      withoutTokens(told),
    )
    .slice(0, 500);
}

function factsOf(thrown: unknown): {
  name: string;
  status: number | undefined;
  message: string;
  node: string;
} {
  if (typeof thrown !== 'object' || thrown === null)
    return { name: 'Error', status: undefined, message: String(thrown), node: '' };
  const { name, message, code, $metadata } = thrown as Record<string, unknown>;
  const status =
    typeof $metadata === 'object' && $metadata !== null && 'httpStatusCode' in $metadata
      ? $metadata.httpStatusCode
      : undefined;
  return {
    name: typeof name === 'string' ? name : 'Error',
    status: typeof status === 'number' ? status : undefined,
    message: typeof message === 'string' ? message : '',
    node: typeof code === 'string' ? code : '',
  };
}
