import { expect, test } from 'vitest';
import { fromEc2, isNoInstance } from './ec2-error.ts';

const place = { executor: 'burst', at: 'eu-central-1', secrets: ['AKIAX', 'very-secret', 'the-token'] };
const answered = (name: string, message: string, httpStatusCode?: number) =>
  Object.assign(new Error(message), {
    name,
    ...(httpStatusCode === undefined ? {} : { $metadata: { httpStatusCode } }),
  });

test('secrets and what was in the request are not repeated, nor kept as the cause', () => {
  const encoded = 'Encoded authorization failure message: AAAA-everything-that-was-asked';
  const error = fromEc2(
    answered('UnauthorizedOperation', `AKIAX may not, with very-secret and the-token. ${encoded}`, 403),
    'start an instance',
    place,
  );
  expect(error).toMatchObject({ name: 'ExecutorError', code: 'misconfigured' });
  expect(error.message).not.toMatch(/AKIAX|very-secret|the-token|AAAA/);
  expect(error.message).toContain('[secret]');
  expect(error.cause).toBeUndefined();
});

test.each([
  ['RequestLimitExceeded', 503, 'at-capacity'],
  ['InsufficientInstanceCapacity', 500, 'at-capacity'],
  ['InstanceLimitExceeded', 400, 'at-capacity'],
  ['AuthFailure', 401, 'misconfigured'],
  ['InvalidAMIID.NotFound', 400, 'misconfigured'],
  ['InvalidSubnetID.NotFound', 400, 'misconfigured'],
  ['InvalidSomethingNew', 400, 'misconfigured'],
  ['CredentialsProviderError', undefined, 'misconfigured'],
  ['Forbidden', 403, 'misconfigured'],
  ['TooMany', 429, 'at-capacity'],
  ['Whatever', 400, 'start-failed'],
  ['InternalError', 500, 'unavailable'],
  ['TimeoutError', undefined, 'unavailable'],
])('%s (%s) is %s', (name, status, code) => {
  const thrown = answered(name, 'because', status);
  expect(fromEc2(thrown, 'list its instances', place)).toMatchObject({ code });
});

test('a host that is not there is told of', () => {
  const thrown = Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' });
  const error = fromEc2(thrown, 'list its instances', place);
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('EC2_REGION') });
});

test('an instance that is not there, or cannot be one, is told apart', () => {
  expect(isNoInstance(answered('InvalidInstanceID.NotFound', '', 400))).toBe(true);
  expect(isNoInstance(answered('InvalidInstanceID.Malformed', '', 400))).toBe(true);
  expect(isNoInstance(answered('OperationNotPermitted', '', 400))).toBe(false);
  expect(isNoInstance(undefined)).toBe(false);
});
