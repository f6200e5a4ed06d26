import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  authorizationOf,
  isSignedBy,
  parseAuthorization,
  type SignedRequest,
  sha256,
  signingTime,
} from './signature.ts';

const keys = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const time = '20130524T000000Z';

function example(target: string, headers: Record<string, string> = {}): SignedRequest {
  const payloadHash = sha256('');
  return {
    method: 'GET',
    target,
    payloadHash,
    headers: {
      host: 'examplebucket.s3.amazonaws.com',
      'x-amz-content-sha256': payloadHash,
      'x-amz-date': time,
      ...headers,
    },
  };
}

test.each([
  [
    example('/test.txt', { range: 'bytes=0-9' }),
    'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  ],
  [example('/?lifecycle'), 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
  [example('/?prefix=J&max-keys=2'), '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
])('the examples of Amazon’s manual', (request, signature) => {
  expect(authorizationOf(request, time, 'us-east-1', keys)).toContain(`Signature=${signature}`);
});

test('the time of a signature', () => {
  expect(signingTime(Date.UTC(2013, 4, 24))).toBe(time);
});

const request = fc.record({
  method: fc.constantFrom('GET', 'PUT', 'POST', 'DELETE'),
  target: fc.webPath().map((path) => `/bucket${path}?a=1&b`),
  headers: fc.dictionary(fc.stringMatching(/^x-amz-[a-z]{1,9}$/), fc.stringMatching(/^[ -~]{0,20}$/), {
    minKeys: 1,
  }),
  payloadHash: fc.stringMatching(/^[0-9a-f]{64}$/),
});

test('what was signed is accepted, and nothing that differs from it', () => {
  fc.assert(
    fc.property(request, fc.string({ minLength: 1 }), (signed, secretKey) => {
      const text = authorizationOf(signed, time, 'auto', { accessKey: 'key', secretKey });
      const parsed = parseAuthorization(text, time);
      if (parsed === undefined) throw new Error(text);
      expect(parsed.signedHeaders).toEqual(Object.keys(signed.headers).sort());
      expect(isSignedBy(signed, time, parsed, secretKey)).toBe(true);
      expect(isSignedBy(signed, time, parsed, `${secretKey}x`)).toBe(false);
      expect(isSignedBy({ ...signed, method: 'PATCH' }, time, parsed, secretKey)).toBe(false);
      expect(isSignedBy({ ...signed, target: `${signed.target}&c` }, time, parsed, secretKey)).toBe(false);
      expect(isSignedBy({ ...signed, payloadHash: 'x' }, time, parsed, secretKey)).toBe(false);
      expect(isSignedBy(signed, time, { ...parsed, region: 'x' }, secretKey)).toBe(false);
    }),
  );
});

test('no text breaks the parser; a signature of another day is none', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      expect(parseAuthorization(text, time)).toBeUndefined();
    }),
  );
  const text = authorizationOf(example('/'), time, 'auto', keys);
  expect(parseAuthorization(text, '20130525T000000Z')).toBeUndefined();
});
