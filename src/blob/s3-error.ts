import { messageOf } from '../base/coded-error.ts';
import { BlobError } from './blob-error.ts';

/** Codes of S3 and of those that speak its language, and how Node's and the SDK's own errors are named. */
const refused: ReadonlySet<string> = new Set([
  'AccessDenied',
  'AllAccessDisabled',
  'AccountProblem',
  'CredentialsProviderError',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'InvalidToken',
  'InvalidSecurity',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
]);
const noBucket: ReadonlySet<string> = new Set([
  'NoSuchBucket',
  'InvalidBucketName',
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
]);
const throttled: ReadonlySet<string> = new Set([
  'BandwidthLimitExceeded',
  'RequestLimitExceeded',
  'RequestThrottled',
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
  'TooManyRequestsException',
]);
const full: ReadonlySet<string> = new Set(['InsufficientCapacity', 'QuotaExceeded', 'XMinioStorageFull']);
const unknownHost: ReadonlySet<string> = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA']);

export interface S3Place {
  readonly bucket: string;
  /** What the bucket was looked for at: an endpoint or a region. */
  readonly at: string;
}

/** Whether the answer was that there is no such object. */
export function isMissing(thrown: unknown): boolean {
  const { name, status } = factsOf(thrown);
  return name === 'NoSuchKey' || (status === 404 && name !== 'NoSuchBucket');
}

/** Whether the answer was that the blob has no bytes at the place that was asked for. */
export function isBeyondEnd(thrown: unknown): boolean {
  const { name, status } = factsOf(thrown);
  return name === 'InvalidRange' || status === 416;
}

/** What the AWS SDK throws, as a BlobError. Messages name the bucket and where it was looked for, and no key. */
export function fromS3(thrown: unknown, { bucket, at }: S3Place): BlobError {
  if (thrown instanceof BlobError) return thrown;
  const { name, code, status } = factsOf(thrown);
  const why = `${name}: ${messageOf(thrown)}`;
  const where = `the bucket ${bucket} at ${at}`;
  if (noBucket.has(name) || status === 301)
    return new BlobError(
      'no-bucket',
      `There is no bucket ${bucket} at ${at} (${why}). Create it, or correct bucket, region and endpoint.`,
      thrown,
    );
  if (name === 'RequestTimeTooSkewed')
    return new BlobError(
      'refused',
      `The clock of this machine and that of ${at} are too far apart (${why}). Set the clock.`,
      thrown,
    );
  if (throttled.has(name) || status === 429)
    return new BlobError(
      'throttled',
      `Requests to ${where} are throttled (${why}), also after some tries. It is tried again later.`,
      thrown,
    );
  if (full.has(name) || status === 507)
    return new BlobError(
      'disk-full',
      `There is no room left in ${where} (${why}). Nothing was stored.`,
      thrown,
    );
  if (refused.has(name) || status === 401 || status === 403)
    return new BlobError(
      'refused',
      `Access to ${where} was refused (${why}). Check access key and secret key, and that they may read, write, delete and list in the bucket.`,
      thrown,
    );
  if (unknownHost.has(code))
    return new BlobError(
      'unavailable',
      `There is no host for ${where} (${why}). Check the endpoint, the region and the name service.`,
      thrown,
    );
  return new BlobError(
    'unavailable',
    `${where.charAt(0).toUpperCase()}${where.slice(1)} cannot be reached, or failed (${why}). Check that it runs and can be reached from here.`,
    thrown,
  );
}

function factsOf(thrown: unknown): { name: string; code: string; status: number | undefined } {
  if (typeof thrown !== 'object' || thrown === null) return { name: 'error', code: '', status: undefined };
  const { name, code, $metadata } = thrown as { name?: unknown; code?: unknown; $metadata?: unknown };
  const status =
    typeof $metadata === 'object' && $metadata !== null && 'httpStatusCode' in $metadata
      ? $metadata.httpStatusCode
      : undefined;
  return {
    name: typeof name === 'string' ? name : 'error',
    code: typeof code === 'string' ? code : '',
    status: typeof status === 'number' ? status : undefined,
  };
}
