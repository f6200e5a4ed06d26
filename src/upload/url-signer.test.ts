import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { UploadError } from './upload-error.ts';
import { type SignedQuery, UrlSigner } from './url-signer.ts';

const clock = new ManualClock();
const signer = new UrlSigner(Buffer.alloc(32, 1), clock);
const path = '/userfiles/a';

function queryOf(url: string): SignedQuery {
  const { searchParams } = new URL(url, 'http://localhost');
  return {
    expires: Number(searchParams.get('expires')),
    max: Number(searchParams.get('max')),
    signature: searchParams.get('signature') ?? '',
  };
}
function codeOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (thrown) {
    return thrown instanceof UploadError ? thrown.code : thrown;
  }
}

test('what was signed is allowed until its time, by every server with the key and by no other', async () => {
  const query = queryOf(signer.sign({ method: 'PUT', path, maxSize: 5, lifetime: 10_000 }));
  expect(signer.verify('PUT', path, query)).toMatchObject({ method: 'PUT', path, maxSize: 5 });
  expect(new UrlSigner(Buffer.alloc(32, 1), clock).verify('PUT', path, query).maxSize).toBe(5);
  expect(codeOf(() => new UrlSigner(Buffer.alloc(32, 2), clock).verify('PUT', path, query))).toBe(
    'bad-signature',
  );
  await clock.advance(11_000);
  expect(codeOf(() => signer.verify('PUT', path, query))).toBe('expired');
});

test('nothing else passes, whatever is changed', () => {
  const query = queryOf(signer.sign({ method: 'GET', path, maxSize: 5, lifetime: 10_000 }));
  fc.assert(
    fc.property(
      fc.record({
        method: fc.constantFrom('GET' as const, 'PUT' as const),
        path: fc.oneof(fc.constant(path), fc.string()),
        expires: fc.oneof(fc.constant(query.expires), fc.nat()),
        max: fc.oneof(fc.constant(5), fc.nat()),
        signature: fc.oneof(fc.constant(query.signature), fc.string(), fc.base64String()),
      }),
      ({ method, path: where, ...changed }) => {
        const same =
          method === 'GET' &&
          where === path &&
          changed.expires === query.expires &&
          changed.max === 5 &&
          Buffer.from(changed.signature, 'base64url').equals(Buffer.from(query.signature, 'base64url'));
        const verdict = codeOf(() => signer.verify(method, where, changed));
        if (same) expect(verdict).toMatchObject({ path });
        else expect(verdict).toBe('bad-signature');
      },
    ),
    { numRuns: 2_000 },
  );
});

test('a short key is refused', () => {
  expect(() => new UrlSigner(Buffer.alloc(16), clock)).toThrow(TypeError);
});
