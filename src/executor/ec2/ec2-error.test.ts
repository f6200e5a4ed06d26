import { expect, test } from 'vitest';
import { fromEc2, isNoInstance, isRefusal } from './ec2-error.ts';

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
  ['RequestLimitExceeded', 503, 'at-capacity', true],
  ['InsufficientInstanceCapacity', 500, 'at-capacity', true],
  ['InstanceLimitExceeded', 400, 'at-capacity', true],
  ['AuthFailure', 401, 'misconfigured', true],
  ['InvalidAMIID.NotFound', 400, 'misconfigured', true],
  ['InvalidSubnetID.NotFound', 400, 'misconfigured', true],
  ['InvalidSomethingNew', 400, 'misconfigured', true],
  ['CredentialsProviderError', undefined, 'misconfigured', true],
  ['Forbidden', 403, 'misconfigured', true],
  ['TooMany', 429, 'at-capacity', true],
  ['Whatever', 400, 'start-failed', true],
  ['InternalError', 500, 'unavailable', false],
  ['TimeoutError', undefined, 'unavailable', false],
])('%s (%s) is %s; refused for sure: %s', (name, status, code, refused) => {
  const thrown = answered(name, 'because', status);
  expect(fromEc2(thrown, 'list its instances', place)).toMatchObject({ code });
  expect(isRefusal(thrown)).toBe(refused);
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
