import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { publicOrigin } from './public-origin.ts';

const origin = (headers: IncomingMessage['headers'], trustForwarded = false, encrypted = false) =>
  publicOrigin(
    { headers, socket: { encrypted } as unknown as IncomingMessage['socket'] },
    { trustForwarded, fallback: 'http://fallback:1' },
  );

test('is the name the client used', () => {
  expect(origin({ host: '127.0.0.1:8080' })).toBe('http://127.0.0.1:8080');
  expect(origin({ host: '[::1]:8080' })).toBe('http://[::1]:8080');
  expect(origin({ host: 'build.example' }, false, true)).toBe('https://build.example');
});

test('is what our own proxy says, and nobody else', () => {
  const headers = {
    host: 'inner:1',
    'x-forwarded-host': 'build.example, inner',
    'x-forwarded-proto': 'https',
  };
  expect(origin(headers, true)).toBe('https://build.example');
  expect(origin(headers, false)).toBe('http://inner:1');
});

test.each([undefined, '', 'a b', 'a"b', 'a/b', 'x,y="z"'])('is never made of a host like %j', (host) => {
  expect(origin(host === undefined ? {} : { host })).toBe('http://fallback:1');
});

test('is https when TLS ends in front of us, though we are reached in clear text and told nothing', () => {
  const seen = publicOrigin(
    { headers: { host: 'build.example' }, socket: {} as IncomingMessage['socket'] },
    { trustForwarded: false, fallback: 'https://fallback:1', tlsInFront: true },
  );
  expect(seen).toBe('https://build.example');
});
