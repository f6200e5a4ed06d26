import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Masker } from './mask.ts';
import { secretForms } from './secret-forms.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

/** Cut into pieces of these sizes, one after the other, again and again. */
function through(masker: Masker, input: Buffer, sizes: readonly number[]): string {
  const out: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < input.length; turn++) {
    const size = sizes.length === 0 ? input.length : (sizes[turn % sizes.length] ?? 1);
    out.push(masker.write(input.subarray(at, at + size)));
    at += size;
  }
  out.push(masker.flush());
  return Buffer.concat(out).toString('latin1');
}

/** The definition, by brute force. */
function masked(input: Buffer, secrets: readonly Buffer[]): string {
  const covered = new Uint8Array(input.length);
  for (const form of secrets.flatMap(secretForms)) {
    for (let at = input.indexOf(form); at >= 0; at = input.indexOf(form, at + 1)) {
      covered.fill(1, at, at + form.length);
    }
  }
  let out = '';
  for (let at = 0; at < input.length; at++) {
    if (covered[at] === 0) out += String.fromCharCode(input[at] ?? 0);
    else if (at === 0 || covered[at - 1] === 0) out += '***';
  }
  return out;
}

// A small alphabet makes overlaps, repetitions and false starts likely.
const smallBytes = (constraints: { minLength?: number; maxLength: number }) =>
  fc.array(fc.constantFrom(97, 98, 10, 255), constraints).map((values) => Buffer.from(values));

test('masks exactly the bytes of secrets, wherever the input is cut', () => {
  fc.assert(
    fc.property(
      fc.array(smallBytes({ minLength: 1, maxLength: 12 }), { maxLength: 4 }),
      smallBytes({ maxLength: 200 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 5 }),
      (secrets, input, sizes) => {
        expect(through(new Masker({ secrets }), input, sizes)).toBe(masked(input, secrets));
      },
    ),
    { numRuns: 3000 },
  );
});

test('holds back less than the longest form of a secret', () => {
  fc.assert(
    fc.property(
      smallBytes({ minLength: 3, maxLength: 40 }),
      smallBytes({ maxLength: 100 }),
      (secret, input) => {
        const masker = new Masker({ secrets: [secret] });
        const longest = Math.max(0, ...secretForms(secret).map((form) => form.length));
        const seen = masker.write(input).length;
        const rest = masker.flush().length;
        expect(rest).toBeLessThanOrEqual(Math.max(3, longest - 1));
        expect(seen + rest).toBeLessThanOrEqual(input.length + 3 * input.length);
      },
    ),
  );
});

describe('forms of a secret', () => {
  const secret = 'pa$$ w/rd+"ö\\x';
  const utf8 = Buffer.from(secret);
  test.each([
    ['itself', secret],
    ['base64', utf8.toString('base64')],
    ['base64 for URLs', utf8.toString('base64url')],
    ['a part of a longer base64 text', Buffer.from(`user:${secret}`).toString('base64')],
    ['at the next offset', Buffer.from(`a${secret}b`).toString('base64')],
    ['at the offset after', Buffer.from(`ab${secret}bc`).toString('base64')],
    ['URL-encoded', encodeURIComponent(secret)],
    ['URL-encoded in lower case', encodeURIComponent(secret).toLowerCase()],
    ['in JSON', JSON.stringify({ password: secret })],
  ])('%s', (_name, text) => {
    const out = through(new Masker({ secrets: [utf8] }), Buffer.from(`before ${text} after`), [5]);
    expect(out).toMatch(/^before .{0,14}\*\*\*.{0,6} after$/);
  });

  test('each long line of a secret of several lines, and the whole', () => {
    const key = Buffer.from('-----BEGIN KEY-----\nMIIabcdefgh\nshort\n-----END KEY-----\n');
    expect(through(new Masker({ secrets: [key] }), bytes('x MIIabcdefgh y'), [])).toBe('x *** y');
    expect(through(new Masker({ secrets: [key] }), Buffer.concat([bytes('<'), key, bytes('>')]), [7])).toBe(
      '<***>',
    );
    expect(through(new Masker({ secrets: [key] }), bytes('a short line'), [])).toBe('a short line');
  });

  test('a trailing newline in a secret file does not hide it', () => {
    expect(through(new Masker({ secrets: [bytes('hunter22\n')] }), bytes('it is hunter22!'), [1])).toBe(
      'it is ***!',
    );
  });

  test('what is too short to be a secret masks nothing', () => {
    expect(
      through(new Masker({ secrets: [bytes(''), bytes('ab'), bytes(' \n')] }), bytes('ab \n ab'), []),
    ).toBe('ab \n ab');
  });
});

describe('settle', () => {
  test('gives out everything, and still masks the rest of a secret that was cut', () => {
    const masker = new Masker({ secrets: [bytes('abcdefgh')] });
    const first = Buffer.concat([masker.write(bytes('1 abcde')), masker.settle()]).toString();
    const second = Buffer.concat([masker.write(bytes('fgh 2')), masker.settle()]).toString();
    expect(first).toBe('1 ***');
    expect(second).toBe(' 2');
  });

  test('lets a few bytes out as they are, and masks the rest of the secret', () => {
    const masker = new Masker({ secrets: [bytes('abcdefgh')] });
    const out = [
      masker.write(bytes('1 ab')),
      masker.settle(),
      masker.write(bytes('cdefgh 2')),
      masker.settle(),
    ];
    expect(Buffer.concat(out).toString()).toBe('1 ab*** 2');
  });

  test('never shows more than three bytes of a secret', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 }), (sizes) => {
        const masker = new Masker({ secrets: [bytes('secretvalue')] });
        const input = bytes('x secretvalue y');
        const out: Buffer[] = [];
        for (let at = 0, turn = 0; at < input.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          out.push(masker.write(input.subarray(at, at + size)), masker.settle());
          at += size;
        }
        expect(Buffer.concat(out).toString()).toMatch(/^x (s(e(c)?)?)?\*\*\* y$/);
      }),
    );
  });
});

test('time is linear in the input also where every byte nearly begins a secret', () => {
  const time = (length: number) => {
    const masker = new Masker({ secrets: [Buffer.concat([Buffer.alloc(2000, 97), bytes('b')])] });
    const input = Buffer.alloc(length, 97);
    const start = performance.now();
    masker.write(input);
    masker.flush();
    return performance.now() - start;
  };
  time(200_000);
  const small = time(200_000);
  expect(time(1_600_000)).toBeLessThan(Math.max(small, 2) * 40);
});

describe('settle, behind what an opening began', () => {
  const opening = 'eyJhbGciOiJFUzI1NiIs';
  const tokenOf = (letter: string) =>
    `${opening}ImtpZCI6IngifQ.${letter.repeat(30)}.${`${letter}b-_`.repeat(22).slice(0, 86)}`;
  const token = tokenOf('A');
  const messages = (...texts: string[]) => {
    const masker = new Masker({ secrets: [], openings: [Buffer.from(opening)] });
    return texts.map((text) => Buffer.concat([masker.write(bytes(text)), masker.settle()]).toString());
  };

  test('a whole token does not mask the words of the next message', () => {
    expect(messages(`with ${token}`, 'L 0', 'L 1')).toEqual(['with ***', 'L 0', 'L 1']);
  });

  test('a token that was cut is masked to its end', () => {
    for (let cut = opening.length; cut < token.length; cut++) {
      const said = messages(`with ${token.slice(0, cut)}`, `${token.slice(cut)} there`, 'L 0');
      expect(said).toEqual(['with ***', ' there', 'L 0']);
    }
  });

  test('one that follows another without a gap is masked too, wherever it is cut', () => {
    const line = `GET /x?push=${token}&pull=${tokenOf('Z')} HTTP/1.1`;
    for (let cut = 1; cut < line.length; cut++) {
      const said = messages(line.slice(0, cut), line.slice(cut)).join('');
      expect(said).toMatch(
        /^GET \/x\?push=(?:e|ey|eyJ)?(?:\*\*\*)+&pull=(?:e|ey|eyJ)?(?:\*\*\*)+ HTTP\/1\.1$/,
      );
    }
  });
});

test('masks what an opening begins, to its end, wherever the input is cut', () => {
  const opening = Buffer.from('eyJhbGciOiJFUzI1NiIs');
  const token = `${opening}ImtpZCI6IngifQ.eyJpc3MiOiJ4In0.AbC-_9`;
  const input = Buffer.from(`a ${token} b "${token}" c\n${token}`);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 8 }), (sizes) => {
      const masker = new Masker({ secrets: [bytes('hunter22')], openings: [opening] });
      expect(through(masker, input, sizes)).toBe('a *** b "***" c\n***');
    }),
    { numRuns: 500 },
  );
  const encoded = Buffer.from(`$token:${token}`).toString('base64');
  const out = through(
    new Masker({ secrets: [], openings: [opening] }),
    Buffer.from(`{"auth":"${encoded}"}`),
    [],
  );
  expect(out).toMatch(/^\{"auth":"[A-Za-z0-9]{8,14}\*\*\*"\}$/);
});
