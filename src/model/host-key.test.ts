import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { formatKeyServer, knownHostName, parseHostKey, parseKeyServer, parseKnownHost } from './host-key.ts';

// That of github.com.
const key = 'AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
const good = { host: 'git.example', port: 22, type: 'ssh-ed25519', key };

describe('parseHostKey', () => {
  it('takes a key in its one form', () => expect(parseHostKey(good)).toEqual(good));

  it.each([
    { host: 'git.example\nevil.example' },
    { host: '*' },
    { host: '@cert-authority' },
    { host: 'GIT.example' },
    { host: '' },
    { port: 0 },
    { port: 65_536 },
    { port: 1.5 },
    { type: 'ssh-rsa' },
    { type: 'ssh-dss' },
    { key: '' },
    { key: `${key} x` },
    { key: `${key}\n` },
    { key: 'A'.repeat(5000) },
  ])('refuses %j', (other) => expect(parseHostKey({ ...good, ...other })).toBeUndefined());

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer(), fc.string(), fc.string(), (host, port, type, text) => {
        const read = parseHostKey({ host, port, type, key: text });
        if (read !== undefined)
          expect(parseKnownHost(`${knownHostName(read)} ${type} ${text}`)).toEqual(read);
      }),
    );
  });
});

test('a line of known_hosts is read as it was written, and no other', () => {
  for (const each of [good, { ...good, port: 2222 }, { ...good, host: '::1', port: 2222 }])
    expect(parseKnownHost(`${knownHostName(each)} ${each.type} ${each.key}`)).toEqual(each);
  for (const line of [
    '',
    `|1|abc=|def= ssh-ed25519 ${key}`,
    `@revoked git.example ssh-ed25519 ${key}`,
    `a,b ssh-ed25519 ${key}`,
  ])
    expect(parseKnownHost(line)).toBeUndefined();
});

test.each([
  ['git.example', { host: 'git.example', port: 22 }],
  ['GIT.example:2222', { host: 'git.example', port: 2222 }],
  ['[::1]:2222', { host: '::1', port: 2222 }],
  ['[::1]', { host: '::1', port: 22 }],
])('%s names a server', (text, server) => {
  expect(parseKeyServer(text)).toEqual(server);
  expect(parseKeyServer(formatKeyServer(server))).toEqual(server);
});

test.each(['', ':', 'a b', 'a:0', 'a:70000', 'https://git.example', '*', '[', 'a/b'])(
  '"%s" names none',
  (text) => expect(parseKeyServer(text)).toBeUndefined(),
);
