import { expect, test } from 'vitest';
import { ExecutorError } from '../executor-error.ts';
import { ApiFailure, type Call, NoAnswer } from './api-client.ts';
import { translateApiError } from './api-error.ts';

const call: Call = { method: 'POST', path: '/', verb: 'create', resource: 'jobs' };
const context = { executor: 'cluster', namespace: 'builder' };

const failure = (status: number, message: string, reason = '') =>
  new ApiFailure(status, reason, message, call);
const silence = (code: string) => new NoAnswer(call, Object.assign(new Error('no'), { code }));

test.each<[string, Error, ExecutorError['code'], RegExp]>([
  ['a wrong token', failure(401, 'Unauthorized'), 'misconfigured', /token or certificate/],
  [
    'a missing right',
    failure(
      403,
      'jobs.batch is forbidden: User "system:serviceaccount:builder:x" cannot create resource "jobs" in API group "batch" in the namespace "builder"',
    ),
    'misconfigured',
    /may not create jobs in namespace builder.*role\.yaml/,
  ],
  [
    'a quota',
    failure(403, 'jobs.batch "x" is forbidden: exceeded quota: builds, requested: count/jobs.batch=1'),
    'at-capacity',
    /quota of namespace builder is used up/,
  ],
  [
    'a webhook',
    failure(400, 'admission webhook "policy.example.com" denied the request: no'),
    'start-failed',
    /does not admit/,
  ],
  [
    'a namespace on its way out',
    failure(403, 'unable to create new content in namespace builder'),
    'start-failed',
    /refuses/,
  ],
  [
    'no namespace',
    failure(404, 'namespaces "builder" not found', 'NotFound'),
    'misconfigured',
    /no namespace builder/,
  ],
  [
    'an invalid Job',
    failure(422, 'Job.batch "x" is invalid: spec.template.spec.dnsPolicy'),
    'start-failed',
    /422/,
  ],
  ['too much to do', failure(429, 'too many requests'), 'unavailable', /429/],
  ['a failure within', failure(500, 'etcdserver: request timed out'), 'unavailable', /500/],
  ['nobody there', silence('ECONNREFUSED'), 'unavailable', /ECONNREFUSED/],
  ['an unknown authority', silence('DEPTH_ZERO_SELF_SIGNED_CERT'), 'misconfigured', /K8S_API_TLS_CA/],
  ['another name', silence('ERR_TLS_CERT_ALTNAME_INVALID'), 'misconfigured', /K8S_API_SERVER/],
])('%s has its name', (_, thrown, code, message) => {
  const error = translateApiError(thrown, context);
  expect(error).toBeInstanceOf(ExecutorError);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
  expect(error.message).toContain('cluster');
  // Node's errors may hold the request.
  expect(error.cause).toBeUndefined();
});
