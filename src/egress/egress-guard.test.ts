import { describe, expect, it } from 'vitest';
import { EgressGuard } from './egress-guard.ts';
import { type EgressOptions, EgressPolicy } from './egress-policy.ts';

function guard(options: EgressOptions = {}, addresses: string[] = ['93.184.216.34']): EgressGuard {
  return new EgressGuard(new EgressPolicy(options), async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
  );
}

describe('checkUrl', () => {
  it.each([
    ['ftp://example.com/', 'bad-url'],
    ['file:///etc/passwd', 'bad-url'],
    ['javascript:alert(1)', 'bad-url'],
    ['example.com/x', 'bad-url'],
    ['', 'bad-url'],
    ['https://example.com/a\r\nb', 'bad-url'],
    ['https://exam\tple.com/', 'bad-url'],
    ['https://example.com/\0', 'bad-url'],
    ['https://user:pw@example.com/', 'bad-url'],
    ['https://user@example.com/', 'bad-url'],
    ['http://127.0.0.1/', 'forbidden'],
    ['http://127.1/', 'forbidden'],
    ['http://2130706433/', 'forbidden'],
    ['http://0x7f000001/', 'forbidden'],
    ['http://017700000001/', 'forbidden'],
    ['http://0x7f.0.0.1./', 'forbidden'],
    ['http://[::1]/', 'forbidden'],
    ['http://[::ffff:127.0.0.1]/', 'forbidden'],
    ['http://[64:ff9b::7f00:1]/', 'forbidden'],
    ['http://169.254.169.254/latest/meta-data/', 'forbidden'],
    ['http://①②⑦.0.0.1/', 'forbidden'],
    ['http://127。0。0。1/', 'forbidden'],
    ['http://127%2e0%2e0%2e1/', 'forbidden'],
    ['http://%31%32%37.0.0.1/', 'forbidden'],
    ['http://0177.0.0.1/', 'forbidden'],
    ['http://0/', 'forbidden'],
    ['http://127.0.0.1./', 'forbidden'],
    ['http://[::ffff:a9fe:a9fe]/', 'forbidden'],
    ['http://[::127.0.0.1]/', 'forbidden'],
    ['http://[0:0:0:0:0:0:0:1]/', 'forbidden'],
    ['http://[64:ff9b::a9fe:a9fe]/', 'forbidden'],
    ['http://[64:ff9b:1::7f00:1]/', 'forbidden'],
    ['http://[2002:7f00:1::]/', 'forbidden'],
    ['http://[2002:a9fe:a9fe::1]/', 'forbidden'],
    ['http://[2001:0:7f00:1::]/', 'forbidden'],
    ['http://[fe80::1]/', 'forbidden'],
    // A zone is no part of a URL's host.
    ['http://[fe80::1%25eth0]/', 'bad-url'],
    ['http://[::1%25lo]/', 'bad-url'],
    // The host is what follows the last @ before the first slash, backslash, ? or #.
    ['http://example.com@127.0.0.1/', 'bad-url'],
    ['http://example.com:80@127.0.0.1/', 'bad-url'],
    ['http://example.com%2f@127.0.0.1/', 'bad-url'],
    ['http://127.0.0.1\\@example.com/', 'forbidden'],
    ['http://127.0.0.1#@example.com/', 'forbidden'],
    ['http://127.0.0.1?@example.com/', 'forbidden'],
    ['http:127.0.0.1/', 'forbidden'],
    ['http:\\\\127.0.0.1/', 'forbidden'],
    [' \thttp://127.0.0.1/', 'bad-url'],
    ['http://127.0.\n0.1/', 'bad-url'],
  ])('%s → %s', (url, code) => {
    expect(() => guard().checkUrl(url)).toThrow(expect.objectContaining({ name: 'EgressError', code }));
  });

  it('looks at the host behind user names, where they are allowed', () => {
    const lenient = guard({ allowCredentials: true });
    for (const url of ['http://example.com@127.0.0.1/', 'http://a:b@c@[::1]/', 'http://example.com%00@0/'])
      expect(() => lenient.checkUrl(url), url).toThrow(expect.objectContaining({ code: 'forbidden' }));
    expect(lenient.checkUrl('http://127.0.0.1@example.com/').hostname).toBe('example.com');
  });

  it('refuses http when only https is allowed', () => {
    expect(() => guard({ allowHttp: false }).checkUrl('http://example.com/')).toThrow(
      expect.objectContaining({ code: 'bad-url' }),
    );
    expect(guard({ allowHttp: false }).checkUrl('https://example.com/').hostname).toBe('example.com');
  });

  it('never shows a password in its message', () => {
    try {
      guard().checkUrl('https://user:hunter2@example.com/?token=hunter2');
      expect.unreachable();
    } catch (error) {
      expect(String(error)).not.toContain('hunter2');
    }
  });
});

describe('resolve', () => {
  it('refuses a name when any of its addresses is inside', async () => {
    await expect(guard({}, ['93.184.216.34', '10.0.0.1']).resolve('example.com', 443)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  it.each(
    [
      [
        '127.1',
        '0x7f.1',
        '017700000001',
        '2130706433',
        '0',
        '127.0.0.1.',
        '127.0.0.1..',
        'localhost.',
        '[::1]',
      ],
      [
        '::1',
        '::1%lo',
        '::ffff:127.0.0.1',
        '::ffff:127.0.0.1%lo',
        'fe80::1%eth0',
        '64:ff9b::7f00:1',
        '2002:7f00:1::',
      ],
      ['①②⑦.0.0.1', '127%2e0%2e0%2e1', '127。0。0。1'],
    ].flat(),
  )('reads %s as an address', async (host) => {
    await expect(guard({}, ['127.0.0.1']).resolve(host, 22)).rejects.toMatchObject({ code: 'forbidden' });
  });

  it.each([
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '::1%lo',
    '169.254.169.254',
    'fe80::1%eth0',
  ])('refuses a name that is said to be at %s', async (address) => {
    await expect(guard({}, [address]).resolve('a.example', 443)).rejects.toMatchObject({ code: 'forbidden' });
    const lookup = guard({}, [address]).lookupFor(443);
    const error = await new Promise((done) => lookup('a.example', { all: true }, done));
    expect(error).toMatchObject({ code: 'forbidden' });
  });

  it.each(['not an address', '', '127.1', '1.2.3.4.5', '[::1]:80'])(
    'refuses a name server that answers %j',
    async (address) => {
      await expect(guard({}, [address]).resolve('a.example', 443)).rejects.toMatchObject({
        code: 'forbidden',
      });
    },
  );

  it('lets an allow-list by range, host, suffix or port decide', async () => {
    const inside = ['10.1.2.3'];
    await expect(
      guard({ allowCidrs: ['10.1.0.0/16'] }, inside).resolve('a.example', 443),
    ).resolves.toHaveLength(1);
    await expect(
      guard({ allowCidrs: ['10.2.0.0/16'] }, inside).resolve('a.example', 443),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await expect(
      guard({ allowHosts: ['A.example.'] }, inside).resolve('a.example', 443),
    ).resolves.toHaveLength(1);
    await expect(
      guard({ allowHosts: ['*.example'] }, inside).resolve('a.example', 443),
    ).resolves.toHaveLength(1);
    await expect(guard({ allowHosts: ['*.example'] }, inside).resolve('example', 443)).rejects.toMatchObject({
      code: 'forbidden',
    });
    await expect(
      guard({ allowHosts: ['*.example'] }, inside).resolve('evilexample', 443),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await expect(
      guard({ allowHosts: ['a.example:8443'] }, inside).resolve('a.example', 443),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await expect(
      guard({ allowHosts: ['a.example:8443'] }, inside).resolve('a.example', 8443),
    ).resolves.toHaveLength(1);
  });

  it('keeps metadata and link-local addresses refused when private ones are allowed', async () => {
    await expect(guard({ allowPrivate: true }, ['127.0.0.1']).resolve('x.example', 80)).resolves.toHaveLength(
      1,
    );
    await expect(
      guard({ allowPrivate: true }, ['169.254.169.254']).resolve('x.example', 80),
    ).rejects.toMatchObject({ code: 'forbidden' });
    await expect(guard({ allowPrivate: true }, ['fe80::1']).resolve('x.example', 80)).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  it('tells an unknown name from a cancelled look-up', async () => {
    await expect(guard({}, []).resolve('x.example', 80)).rejects.toMatchObject({ code: 'unresolved' });
    const stuck = new EgressGuard(new EgressPolicy(), () => new Promise(() => {}));
    const abort = new AbortController();
    const pending = stuck.resolve('x.example', 80, abort.signal);
    abort.abort();
    await expect(pending).rejects.toMatchObject({ code: 'cancelled' });
  });
});

describe('EgressPolicy', () => {
  it.each([
    { allowCidrs: ['10.0.0.0/33'] },
    { allowCidrs: ['ten'] },
    { allowHosts: ['https://example.com/'] },
    { allowHosts: ['a*b'] },
  ])('refuses the entry %j', (options) => {
    expect(() => new EgressPolicy(options)).toThrow(TypeError);
  });
});
