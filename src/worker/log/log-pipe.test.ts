import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import type { LogRun } from '../../log/log-store.ts';
import { characterEnd, longestLine } from './line-splitter.ts';
import { LogPipe } from './log-pipe.ts';

class Collected {
  readonly batches: LogRun[][] = [];
  room: Promise<void> = Promise.resolve();

  send(runs: readonly LogRun[]): Promise<void> {
    this.batches.push([...runs]);
    return this.room;
  }

  get runs(): LogRun[] {
    return this.batches.flat();
  }

  get text(): string {
    return this.runs.map((run) => latin(run.text) + (run.partial === true ? '' : '\n')).join('');
  }

  get lines(): string[] {
    return this.runs.flatMap((run) => latin(run.text).split('\n'));
  }
}

const latin = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

function make(secrets: readonly string[] = []) {
  const clock = new ManualClock();
  const sink = new Collected();
  const pipe = new LogPipe({ sink, secrets: secrets.map((text) => Buffer.from(text)), clock });
  return { clock, sink, pipe };
}

const ended = (text: string) => (text === '' || text.endsWith('\n') ? text : `${text}\n`);

describe('what comes out is what went in', () => {
  const chunk = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(
      ...[
        '\n',
        '\r\n',
        '50%\r',
        'STEP 1/2: FROM x\n',
        '#7 [2/4] RUN x',
        '\n\n\n',
        '\0',
        'é€😀',
        'x'.repeat(70_000),
      ].map((text) => new Uint8Array(Buffer.from(text))),
    ),
  );

  test('whatever the bytes, the cuts and the pauses', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(chunk, fc.constantFrom(0, 0, 0, 60, 300)), { maxLength: 30 }),
        async (writes) => {
          const { clock, sink, pipe } = make();
          for (const [bytes, pause] of writes) {
            await pipe.write(Buffer.from(bytes));
            if (pause > 0) await clock.advance(pause);
          }
          await pipe.close();
          expect(sink.text).toBe(ended(writes.map(([bytes]) => latin(bytes)).join('')));
          for (const run of sink.runs) {
            expect(latin(run.text).split('\n')).toHaveLength(run.count);
            if (run.partial === true) expect(run.count).toBe(1);
          }
          expect(Math.max(0, ...sink.lines.map((line) => line.length))).toBeLessThanOrEqual(longestLine);
          expect(clock.sleeping).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('but for secrets, also when they are cut and paused in the middle', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 9 }),
        async (sizes) => {
          const { clock, sink, pipe } = make(['hunter22']);
          const input = Buffer.from('one hunter22\nhunter22 two hunter2');
          for (let at = 0, turn = 0; at < input.length; turn++) {
            const size = sizes[turn % sizes.length] ?? 1;
            await pipe.write(input.subarray(at, at + size));
            await clock.advance(250);
            at += size;
          }
          await pipe.close();
          expect(sink.text).toBe('one ***\n*** two hunter2\n');
        },
      ),
    );
  });

  test('10 MB in one line become pieces, cut between characters', async () => {
    const { sink, pipe } = make();
    const input = Buffer.from('€'.repeat(3_500_000));
    await pipe.write(input);
    await pipe.close();
    expect(Buffer.concat(sink.runs.map(({ text }) => text)).equals(input)).toBe(true);
    expect(sink.runs.slice(0, -1).every(({ partial }) => partial === true)).toBe(true);
    for (const { text } of sink.runs) expect(text.length % 3).toBe(0);
  });
});

describe('types', () => {
  test.each([
    'STEP 2/5: COPY . .',
    'STEP 3: RUN x',
    '[1/2] STEP 2/5: COPY . .',
    'Step 4/13 : RUN make',
    '#7 [2/4] RUN make',
    '#12 [build 2/4] RUN make',
  ])('%j is a command', async (line) => {
    const { sink, pipe } = make();
    await pipe.write(Buffer.from(`before\n${line}\nafter\n`));
    await pipe.close();
    expect(sink.runs.map(({ type, text }) => [type, latin(text)])).toEqual([
      [undefined, 'before'],
      ['command', line],
      [undefined, 'after'],
    ]);
  });

  test.each(['Stepping', ' STEP 2/5: x', '# 7', '[1/2] x', '#7 CACHED', 'STEP x'])(
    '%j is output',
    async (line) => {
      const { sink, pipe } = make();
      await pipe.write(Buffer.from(`${line}\n`));
      await pipe.close();
      expect(sink.runs.map(({ type }) => type)).toEqual([undefined]);
    },
  );

  test('a step whose line comes in two writes is still a command', async () => {
    const { sink, pipe } = make();
    await pipe.write(Buffer.from('STEP 1/'));
    await pipe.write(Buffer.from('2: FROM x\n'));
    await pipe.close();
    expect(sink.runs.map(({ type }) => type)).toEqual(['command']);
  });

  test('what the worker says itself stands on lines of its own', async () => {
    const { sink, pipe } = make(['hunter22']);
    await pipe.write(Buffer.from('no end'));
    await pipe.say('the push of hunter22 failed\nfor a reason');
    await pipe.close();
    expect(sink.runs.map(({ type, text, count }) => [type, latin(text), count])).toEqual([
      [undefined, 'no end\nthe push of *** failed\nfor a reason', 3],
    ]);
  });
});

describe('when batches are sent', () => {
  test('the first line after a silence goes nearly at once, later ones wait for company', async () => {
    const { clock, sink, pipe } = make();
    await pipe.write(Buffer.from('a\n'));
    await clock.advance(5);
    expect(sink.batches).toHaveLength(1);
    await pipe.write(Buffer.from('b\n'));
    await clock.advance(20);
    await pipe.write(Buffer.from('c\n'));
    await clock.advance(179);
    expect(sink.batches).toHaveLength(1);
    await clock.advance(1);
    expect(sink.batches).toHaveLength(2);
    expect(sink.lines).toEqual(['a', 'b', 'c']);
    await pipe.close();
  });

  test('the beginning of a line is shown after 200 ms, and its end completes it', async () => {
    const { clock, sink, pipe } = make();
    await pipe.write(Buffer.from('Continue? [y'));
    await clock.advance(199);
    expect(sink.runs).toEqual([]);
    await clock.advance(10);
    expect(sink.runs).toMatchObject([{ partial: true, count: 1 }]);
    await pipe.write(Buffer.from('/n]\n'));
    await pipe.close();
    expect(sink.text).toBe('Continue? [y/n]\n');
  });

  test('a full sink makes the writer wait', async () => {
    const { sink, pipe } = make();
    let release = () => {};
    sink.room = new Promise((resolve) => {
      release = resolve;
    });
    let done = false;
    const writing = pipe.write(Buffer.alloc(1024 * 1024, 'x\n')).then(() => {
      done = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    release();
    await writing;
    await pipe.close();
    expect(sink.text).toHaveLength(1024 * 1024);
  });

  test('100,000 short lines make few batches and few runs', async () => {
    const { sink, pipe } = make();
    for (let n = 0; n < 1000; n++) await pipe.write(Buffer.from('some line of a build\n'.repeat(100)));
    await pipe.close();
    expect(sink.lines).toHaveLength(100_000);
    expect(sink.batches.length).toBeLessThan(20);
    expect(sink.runs.length).toBeLessThanOrEqual(sink.batches.length);
  });
});

test('characterEnd never cuts a whole character, and cuts before one that is not whole', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 10 }), (text) => {
      const bytes = Buffer.from(text);
      for (let end = 1; end <= bytes.length; end++) {
        const cut = characterEnd(bytes, end);
        expect(end - cut).toBeLessThanOrEqual(3);
        expect(bytes.toString('utf8', 0, cut) + bytes.toString('utf8', cut)).toBe(bytes.toString('utf8'));
      }
    }),
  );
});
