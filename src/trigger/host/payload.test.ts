import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ownRepository, recordedDeliveries } from '../../../test/webhooks/recorded-deliveries.ts';
import { systemClock } from '../../base/clock.ts';
import type { HookEvent } from '../git-host.ts';
import { TriggerError } from '../trigger-error.ts';
import { isRefName } from './git-names.ts';
import { gitHosts } from './hosts.ts';
import { Payload } from './payload.ts';

const hosts = [
  ...gitHosts({
    github: { clock: systemClock },
    gitlab: { clock: systemClock },
    bitbucket: { clock: systemClock },
  }).values(),
];

function code(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (thrown) {
    if (!(thrown instanceof TriggerError)) throw thrown;
    return thrown.code;
  }
}

describe.each(hosts.map((host) => [host.service, host] as const))('what %s reads', (service, host) => {
  const own = ownRepository(service);
  const read = (body: string): HookEvent => host.read({ headers: {}, body: Buffer.from(body) }, own);

  it('is an event or malformed, whatever the body', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        expect(['none', 'malformed']).toContain(code(() => read(JSON.stringify(value))));
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(code(() => host.read({ headers: {}, body: bytes }, own))).toBe('malformed');
      }),
    );
  });

  it('is an event or malformed, whatever stands in the place of any value', () => {
    const bodies = recordedDeliveries(service).flatMap(({ delivery }) => {
      const text = Buffer.from(delivery.body).toString();
      return text.startsWith('{') && text.length < 20_000 ? [text] : [];
    });
    fc.assert(
      fc.property(fc.constantFrom(...bodies), fc.nat(), fc.jsonValue({ maxDepth: 1 }), (text, at, value) => {
        let seen = 0;
        const changed = JSON.stringify(JSON.parse(text), (_, each) => (seen++ === at % 150 ? value : each));
        if (changed === undefined) return;
        let event: HookEvent;
        try {
          event = read(changed);
        } catch (thrown) {
          expect((thrown as TriggerError).code).toBe('malformed');
          return;
        }
        if (event.kind === 'skip') return;
        const { metadata } = event;
        expect(metadata.commit).toMatch(/^[0-9a-f]{7,64}$/);
        expect(isRefName(metadata.ref ?? '')).toBe(true);
        if (service === 'bitbucket' && event.kind === 'pull-request' && event.fork)
          expect(metadata.git_url).toMatch(/^git@bitbucket\.org:[^\s:]+\.git$/);
        else expect(metadata.git_url).toBe(own.gitUrl);
        expect(JSON.stringify(event)).not.toContain('\\u0000');
      }),
      { numRuns: 500 },
    );
  });

  it('is malformed when it is nested 100,000 deep, or a list of a million', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(code(() => read(deep))).toBe('malformed');
    const long = `[${'0,'.repeat(1_000_000)}0]`;
    const body = {
      github: `{"ref":"refs/heads/a","head_commit":{"id":"${'a'.repeat(40)}","message":"","timestamp":""},"repository":{"full_name":"acme/web","ssh_url":"a@b:c"},"commits":${long}}`,
      gitlab: `{"object_kind":"push","ref":"refs/heads/a","after":"${'a'.repeat(40)}","commits":${long}}`,
      bitbucket: `{"push":{"changes":${long}}}`,
      'custom-git': `{"commit":${long}}`,
    }[service];
    expect(code(() => read(body))).toBe('malformed');
  });

  it.skipIf(service === 'custom-git')(
    'is malformed when it speaks of another repository, wherever that is to be cloned from',
    () => {
      const name = own.name ?? '';
      for (const { delivery, expected } of recordedDeliveries(service)) {
        if ('malformed' in expected || expected.kind === 'skip') continue;
        const text = Buffer.from(delivery.body).toString();
        const other = { headers: delivery.headers, body: Buffer.from(text.replaceAll(name, 'other/repo')) };
        expect(code(() => host.read(other, own))).toBe('malformed');
      }
    },
  );

  it.skipIf(service === 'bitbucket')('is cloned from where the trigger says, and nowhere else', () => {
    for (const url of ['git@evil.example:acme/web.git', 'ssh://git@127.0.0.1/acme/web.git']) {
      let read = 0;
      for (const { delivery, expected } of recordedDeliveries(service)) {
        if ('malformed' in expected || expected.kind === 'skip') continue;
        const text = Buffer.from(delivery.body).toString();
        const body = Buffer.from(text.replaceAll(/git@git(?:hub|lab)\.com:[\w/]+\.git/g, url));
        const event = host.read({ headers: delivery.headers, body }, own);
        expect(event).toMatchObject({ metadata: { git_url: own.gitUrl } });
        read += 1;
      }
      expect(read).toBeGreaterThan(5);
    }
  });

  it('changes no prototype', () => {
    expect(code(() => read('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'))).toBe(
      'malformed',
    );
    expect({}).not.toHaveProperty('polluted');
  });
});

describe('a payload', () => {
  const of = (value: unknown) => Payload.parse(Buffer.from(JSON.stringify({ value }))).at('value');

  it('keeps links to the web only, without passwords', () => {
    expect(of('https://a.example/b?c#d').link()).toBe('https://a.example/b?c#d');
    expect(of('https://kim:hunter2@a.example/b').link()).toBe('https://a.example/b');
    for (const link of ['javascript:alert(1)', 'data:x', '//a/b', 'https://a b', 'https://"', '', 7, null])
      expect(of(link).link()).toBeUndefined();
  });

  it('cuts texts and leaves them storable', () => {
    expect(of('x'.repeat(100_000)).message()).toHaveLength(65_536);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const kept = of(text).text();
        expect(kept.isWellFormed()).toBe(true);
        expect(kept).not.toContain('\0');
      }),
    );
    expect(of('🚀'.repeat(2000)).text().isWellFormed()).toBe(true);
  });
});

describe('the name of a ref', () => {
  it.each([
    ['main', true],
    ['feature/x', true],
    ['größe/🚀', true],
    ['$(reboot);`id`|x&', true],
    ['-oProxyCommand=x', true],
    ['@', true],
    ['', false],
    ['a b', false],
    ['a\nb', false],
    ['a\0b', false],
    ['a..b', false],
    ['a~1', false],
    ['a^', false],
    ['a:b', false],
    ['a@{1}', false],
    ['a//b', false],
    ['/a', false],
    ['a/', false],
    ['a.', false],
    ['.a', false],
    ['a/.b', false],
    ['a.lock', false],
    ['a.lock/b', false],
    ['a\\b', false],
    ['a*', false],
    ['\ud83d', false],
    ['x'.repeat(1024), true],
    ['x'.repeat(1025), false],
    ['語'.repeat(341), true],
    ['語'.repeat(342), false],
  ])('%j: %s', (name, fits) => {
    expect(isRefName(name)).toBe(fits);
  });
});
