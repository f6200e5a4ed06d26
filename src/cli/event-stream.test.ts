import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readEvents, type ServerEvent } from './event-stream.ts';

async function* inPieces(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    yield bytes.subarray(start, end);
    start = end;
  }
}

async function eventsIn(text: string, cuts: readonly number[] = []): Promise<ServerEvent[]> {
  return await collect(readEvents(inPieces(Buffer.from(text), cuts)));
}

async function collect(events: AsyncIterable<ServerEvent>): Promise<ServerEvent[]> {
  const found: ServerEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const line = fc.string({ unit: 'grapheme' }).filter((text) => !/[\r\n]/.test(text));
const event = fc.record({
  event: line.filter((text) => text !== ''),
  id: fc.option(fc.nat().map(String), { nil: undefined }),
  data: fc.array(line, { minLength: 1, maxLength: 3 }).map((lines) => lines.join('\n')),
});

describe('readEvents', () => {
  it('finds the same events however the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event),
        fc.array(fc.nat()),
        fc.constantFrom('\n', '\r\n'),
        async (events, cuts, end) => {
          const text = events
            .map(({ event, id, data }) =>
              [
                ': a comment',
                `event: ${event}`,
                ...(id === undefined ? [] : [`id: ${id}`]),
                ...data.split('\n').map((part) => `data: ${part}`),
                '',
                '',
              ].join(end),
            )
            .join('');
          expect(await eventsIn(text, cuts)).toEqual(events);
        },
      ),
    );
  });

  it('drops an event that was cut off', async () => {
    expect(await eventsIn('data: whole\n\nid: 7\ndata: ha')).toEqual([
      { event: 'message', id: undefined, data: 'whole' },
    ]);
    expect(await eventsIn('data: no empty line\n')).toEqual([]);
  });

  it('skips events without data and fields it does not know', async () => {
    expect(await eventsIn('retry: 1000\n\nevent: x\n\nnew: y\ndata\n\ndata:z\n\n')).toEqual([
      { event: 'message', id: undefined, data: '' },
      { event: 'message', id: undefined, data: 'z' },
    ]);
  });

  it('takes time in proportion to a large event that comes in small pieces', async () => {
    const data = 'x'.repeat(20_000_000);
    const bytes = Buffer.from(`data: ${data}\n\n`);
    async function* pieces() {
      for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
    }
    const started = performance.now();
    const [found] = await collect(readEvents(pieces()));
    expect(found?.data.length).toBe(data.length);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
