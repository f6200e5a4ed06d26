import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../base/clock.ts';
import type { TriggerService } from '../trigger.ts';
import { gitHosts } from './hosts.ts';

const hosts = gitHosts({
  github: { clock: systemClock },
  gitlab: { clock: systemClock },
  bitbucket: { clock: systemClock },
});

const body = Buffer.from('{"zen":"Non-blocking is better than blocking."}');
const secret = 'a secret of 20 chars';
const hmac = (algorithm: string, key = secret) => createHmac(algorithm, key).update(body).digest('hex');

function prove(service: TriggerService, headers: Record<string, string>, key = secret) {
  return hosts.get(service)?.prove({ headers, body }, key);
}

describe.each([
  ['github', 'x-hub-signature-256'],
  ['bitbucket', 'x-hub-signature'],
  ['custom-git', 'x-slipway-signature-256'],
] as const)('a delivery of %s', (service, header) => {
  it('is proved by the HMAC-SHA256 of its body', () => {
    expect(prove(service, { [header]: `sha256=${hmac('sha256')}` })).toBe('proved');
    expect(prove(service, { [header]: `sha256=${hmac('sha256').toUpperCase()}` })).toBe('proved');
  });

  it('agrees with the example in GitHub’s manual', () => {
    const example = {
      body: Buffer.from('Hello, World!'),
      headers: { [header]: 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
    };
    expect(hosts.get(service)?.prove(example, "It's a Secret to Everybody")).toBe('proved');
  });

  it.each([
    ['another secret', `sha256=${hmac('sha256', 'another')}`],
    ['a cut signature', `sha256=${hmac('sha256').slice(0, 62)}`],
    ['a longer signature', `sha256=${hmac('sha256')}00`],
    ['no digits', 'sha256='],
    ['SHA-1 under the name of SHA-256', `sha256=${hmac('sha1')}`],
  ])('is wrong with %s', (_, signature) => {
    expect(prove(service, { [header]: signature })).toBe('wrong');
  });

  it('is without proof when it has no signature, or one with SHA-1 only', () => {
    expect(prove(service, {})).toBe('missing');
    expect(prove(service, { [header]: `sha1=${hmac('sha1')}` })).toBe('missing');
    expect(prove(service, { [header]: hmac('sha256') })).toBe('missing');
    expect(prove(service, { 'x-gitlab-token': secret })).toBe('missing');
  });

  it('is never proved for an empty secret', () => {
    expect(prove(service, { [header]: `sha256=${hmac('sha256', '')}` }, '')).toBe('wrong');
  });
});

describe('a delivery of GitHub', () => {
  it('is without proof when it is signed in the old header only', () => {
    expect(prove('github', { 'x-hub-signature': `sha1=${hmac('sha1')}` })).toBe('missing');
    expect(prove('github', { 'x-hub-signature': `sha256=${hmac('sha256')}` })).toBe('missing');
  });
});

describe('a delivery of GitLab', () => {
  it('is proved by the token', () => {
    expect(prove('gitlab', { 'x-gitlab-token': secret })).toBe('proved');
    expect(prove('gitlab', { 'x-gitlab-token': `${secret} ` })).toBe('wrong');
    expect(prove('gitlab', { 'x-gitlab-token': '' })).toBe('missing');
    expect(prove('gitlab', { 'x-gitlab-token': 'x' }, '')).toBe('wrong');
    expect(prove('gitlab', { 'x-hub-signature-256': `sha256=${hmac('sha256')}` })).toBe('missing');
  });
});

describe('the name of a delivery', () => {
  it.each([
    ['github', 'x-github-delivery'],
    ['gitlab', 'idempotency-key'],
    ['bitbucket', 'x-request-uuid'],
    ['custom-git', 'x-slipway-delivery'],
  ] as const)('of %s is %s', (service, header) => {
    const name = (value: string) => hosts.get(service)?.deliveryName({ headers: { [header]: value }, body });
    expect(name('72d3162e-cc78')).toBe('72d3162e-cc78');
    for (const none of ['', 'a b', 'a\nb', 'é', 'x'.repeat(201)]) expect(name(none)).toBeUndefined();
    expect(hosts.get(service)?.deliveryName({ headers: {}, body })).toBeUndefined();
  });
});
